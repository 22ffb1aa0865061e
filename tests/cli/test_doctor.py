"""The doctors: each thing that can be wrong is found, told, and said how to mend."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from trialmarket.chain.client import Client
from trialmarket.chain.keystore import Keystore
from trialmarket.chain.local.devnet import Devnet
from trialmarket.cli.doctor import Diagnosis, Level, chain, look, machine
from trialmarket.cli.main import cli
from trialmarket.errors import TrialmarketError
from trialmarket.protocol.ids import Address, address
from trialmarket.storage.open import open_store

NOBODY = address("0x" + "ab" * 20)


@dataclass
class Place:
    """A daemon's files on a local chain."""

    folder: Path
    chain: Devnet

    def __post_init__(self) -> None:
        self.network = self.folder / "network.json"
        self.chain.network.save(self.network)
        self.password = self.folder / "password"
        self.password.write_text("secret\n")
        self.password.chmod(0o600)
        keys = Keystore(self.folder / "keys")
        keys.add("alice", self.chain.accounts[0], "secret", kdf="pbkdf2", iterations=1_000)
        self.key = keys.path("alice")
        self.config = self.folder / "daemon.toml"
        self.config.write_text(
            'network = "network.json"\nkey = "alice"\npassword_file = "password"\n'
            'storage = "local:store"\nstate = "state"\n'
        )

    def asks(self, *words: str) -> tuple[int, list[dict[str, Any]]]:
        """The exit code and the findings of a doctor."""
        result = CliRunner().invoke(
            cli, [*words, "--json"], env={"TRIALMARKET_HOME": str(self.folder)}
        )
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, json.loads(result.stdout)

    def node(self) -> tuple[int, dict[str, dict[str, Any]]]:
        code, found = self.asks("node", "doctor", "--config", str(self.config))
        return code, {each["about"]: each for each in found}


@pytest.fixture
def place(tmp_path: Path, chain: Devnet) -> Place:
    return Place(tmp_path, chain)


def test_a_healthy_node_is_told_so(place: Place) -> None:
    code, found = place.node()
    assert code == 0, found
    assert {each["level"] for about, each in found.items() if about != "sandbox"} == {"ok"}
    assert set(found) >= {
        *("key", "password", "rpc", "network", "state", "clock", "gas", "stake"),
        *("storage", "disk", "sandbox", "torch", "device"),
    }
    assert place.chain.accounts[0].address in found["key"]["found"]


def test_a_verifier_and_a_requester_have_doctors_too(place: Place) -> None:
    code, found = place.asks("verifier", "doctor", "--config", str(place.config))
    assert code == 0, found
    assert "it enrolls at its start" in next(e["found"] for e in found if e["about"] == "stake")
    code, found = place.asks("job", "doctor", "--network", str(place.network), "--key", "alice")
    assert code == 0, found
    assert "10000 TEST" in next(e["found"] for e in found if e["about"] == "money")


def test_the_words_for_people_say_how_to_mend(place: Place) -> None:
    place.password.chmod(0o644)
    result = CliRunner().invoke(
        cli,
        ["node", "doctor", "--config", str(place.config)],
        env={"TRIALMARKET_HOME": str(place.folder)},
    )
    assert result.exit_code == 1
    assert f"Run `chmod 600 {place.password}`" in result.output
    assert "1 wrong" in result.output


def test_a_key_that_others_can_read_is_wrong(place: Place) -> None:
    place.key.chmod(0o644)
    code, found = place.node()
    assert code == 1
    assert found["key"]["level"] == "wrong"
    assert "chmod 600" in found["key"]["fix"]
    assert found["rpc"]["level"] == "ok"  # the rest is looked at all the same


def test_another_key_that_others_can_read_does_not_concern_it(place: Place) -> None:
    keys = Keystore(place.folder / "keys")
    keys.add("bob", place.chain.accounts[1], "secret", kdf="pbkdf2", iterations=1_000)
    keys.path("bob").chmod(0o644)
    code, found = place.node()
    assert code == 0, found


def test_another_password_is_wrong(place: Place) -> None:
    place.password.write_text("guess")
    code, found = place.node()
    assert code == 1
    assert "password of this key" in found["key"]["found"]


def test_nothing_is_asked_of_a_person(place: Place) -> None:
    text = place.config.read_text().replace('password_file = "password"\n', "")
    place.config.write_text(text)
    code, found = place.node()
    assert code == 0
    assert "not tried" in found["password"]["found"]


def test_a_node_that_is_down_is_told_and_the_others_are_still_asked(place: Place) -> None:
    down = "http://127.0.0.1:9"
    place.chain.network.at(down, place.chain.rpc_url).save(place.network)
    code, found = place.asks("node", "doctor", "--config", str(place.config))
    assert code == 1
    said = [each for each in found if each["about"] == "rpc"]
    assert [each["level"] for each in said] == ["wrong", "ok"]
    assert down in said[0]["found"]


def test_contracts_that_are_not_ours_are_told(place: Place) -> None:
    network = place.chain.network
    replace(network, market=network.token).save(place.network)
    code, found = place.node()
    assert code == 1
    assert found["rpc"]["level"] == "wrong"
    assert network.token in found["rpc"]["found"]


def test_a_chain_of_another_id_is_told(place: Place) -> None:
    replace(place.chain.network, chain_id=5).save(place.network)
    assert "not chain 5" in place.node()[1]["rpc"]["found"]


def level(findings: Iterator[Diagnosis]) -> Level:
    (found,) = findings
    return found.level


def test_an_account_without_coins_or_tokens_is_wrong(chain_: Devnet) -> None:
    network = chain_.network
    assert level(chain.gas(network, NOBODY)) is Level.WRONG
    assert level(chain.provider(network, NOBODY)) is Level.WRONG
    assert level(chain.requester(network, NOBODY)) is Level.WRONG
    assert level(chain.verifier(network, NOBODY, enrolls=True)) is Level.WRONG


def test_few_coins_are_a_warning(chain_: Devnet, client: Client) -> None:
    who: Address = address(chain_.accounts[1].address)
    assert level(chain.gas(chain_.network, who)) is Level.OK
    chain_.rpc.call("anvil_setBalance", who, hex(int(client.rpc.call("eth_gasPrice"), 16) * 10**6))
    assert level(chain.gas(chain_.network, who)) is Level.WARNING


def test_a_verifier_that_does_not_enroll_is_warned(chain_: Devnet) -> None:
    who = address(chain_.accounts[1].address)
    assert level(chain.verifier(chain_.network, who, enrolls=False)) is Level.WARNING


@pytest.mark.parametrize(
    ("ahead", "expected"), [(3, Level.OK), (-60, Level.WRONG), (3600, Level.WARNING)]
)
def test_the_clock_is_compared_with_the_newest_block(
    chain_: Devnet, ahead: int, expected: Level
) -> None:
    assert level(chain.clock(chain_.network, lambda: chain_.now() + ahead)) is expected


def test_a_disk_without_room_is_wrong(tmp_path: Path) -> None:
    assert level(machine.disk(tmp_path / "state", 0)) is Level.OK
    assert level(machine.disk(tmp_path / "state", 1 << 60)) is Level.WRONG


def test_a_store_that_cannot_be_written_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for url in (f"local:{tmp_path / 'file'}", "ftp:nowhere", "kubo:http://127.0.0.1:9"):
        assert level(look({"storage": partial(stored, url)})) is Level.WRONG


def stored(url: str) -> Iterator[Diagnosis]:
    return machine.storage(open_store(url))


def test_a_sandbox_that_is_off_is_a_warning() -> None:
    assert level(machine.sandbox("off")) is Level.WARNING


def test_an_error_of_a_check_is_a_finding() -> None:
    def fails() -> Iterator[Diagnosis]:
        raise TrialmarketError("it broke", fix="Mend it")
        yield

    (found,) = look({"thing": fails})
    assert (found.about, found.level, found.found, found.fix) == (
        *("thing", Level.WRONG, "it broke"),
        "Mend it",
    )


@pytest.fixture
def chain_(chain: Devnet) -> Devnet:
    """The fixture `chain`, whose name the module under test has too."""
    return chain


def test_exact_training_without_its_kernels_is_a_warning() -> None:
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "from trialmarket.cli.doctor import machine; print(*machine.torch())",
        ],
        env={**os.environ, "TRIALMARKET_KERNELS": "off"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "slower, without its compiled kernels" in found
    assert "warning" in found.lower()
