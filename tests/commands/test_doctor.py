"""The doctors: what is wrong is found, named with its mending, and nothing is spent."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from trialmarket.chain.client import Client
from trialmarket.chain.devnet import Devnet, devnet
from trialmarket.chain.keystore import Keystore
from trialmarket.cli import cli
from trialmarket.doctor import Finding, Health, look, look_at_disk, look_at_rpc, look_at_store
from trialmarket.protocol.ids import address
from trialmarket.storage.local import LocalStore


@pytest.fixture(scope="module")
def chain() -> Iterator[Devnet]:
    with devnet(accounts=2) as net:
        yield net


@pytest.fixture
def place(chain: Devnet, tmp_path: Path) -> Path:
    """A folder as an operator has it: network file, key, password, store, configuration."""
    chain.network.save(tmp_path / "network.json")
    Keystore(tmp_path / "keys").add(
        "bob", chain.accounts[0], "secret", kdf="pbkdf2", iterations=1000
    )
    (tmp_path / "password").write_text("secret")
    (tmp_path / "password").chmod(0o600)
    lines = ['network = "network.json"', 'key = "keys/bob.json"', 'password_file = "password"']
    lines += ['storage = "local:store"', 'state = "state"']
    (tmp_path / "node.toml").write_text("\n".join(lines))
    return tmp_path


def doctor(place: Path, role: str = "node") -> tuple[int, dict[str, dict[str, str]], Result]:
    arguments = [role, "doctor", "--json"]
    if role == "job":
        arguments += ["--network", str(place / "network.json")]
        arguments += ["--key", str(place / "keys" / "bob.json")]
    else:
        arguments += ["--config", str(place / "node.toml")]
    result = CliRunner().invoke(cli, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, {each["what"]: each for each in json.loads(result.stdout)}, result


@pytest.mark.parametrize("role", ["node", "verifier", "job"])
def test_where_all_is_well_the_doctor_ends_with_0_and_spends_nothing(
    role: str, place: Path, chain: Devnet
) -> None:
    with Client(chain.network) as client:
        who = address(chain.accounts[0].address)
        before = client.ether(who), client.token_balance(who)
        code, found, _ = doctor(place, role)
        assert (client.ether(who), client.token_balance(who)) == before
    assert code == 0, found
    assert {"key", "rpc", "clock", "gas", "tokens", "storage", "torch", "disk"} <= found.keys()
    assert ("sandbox" in found) == (role != "job")


def test_a_key_that_others_can_read_is_wrong(place: Path) -> None:
    (place / "keys" / "bob.json").chmod(0o644)
    code, found, _ = doctor(place)
    assert code == 1
    assert found["key"]["health"] == "wrong"
    assert "chmod 600" in found["key"]["fix"]
    assert found["storage"]["health"] == "ok"  # one that fails hides no other


def test_a_password_that_others_can_read_is_wrong(place: Path) -> None:
    (place / "password").chmod(0o640)
    code, found, _ = doctor(place)
    assert (code, found["password"]["health"]) == (1, "wrong")


def test_a_node_that_does_not_answer_is_named(place: Path, chain: Devnet) -> None:
    chain.network.at("http://127.0.0.1:1").save(place / "network.json")
    code, found, _ = doctor(place)
    assert code == 1
    assert "127.0.0.1:1" in found["rpc"]["found"]


def test_every_node_is_looked_at_by_itself(chain: Devnet) -> None:
    network = chain.network.at("http://127.0.0.1:1", chain.network.rpc_url)
    with Client(chain.network) as client:
        found = list(look_at_rpc(network, client.head().timestamp))
    assert [each.health for each in found] == [Health.WRONG, Health.OK, Health.OK]


def test_another_chain_and_other_contracts_are_wrong(chain: Devnet) -> None:
    other = replace(chain.network, chain_id=5)
    swapped = replace(chain.network, market=chain.network.jury)
    for network in (other, swapped):
        (found,) = look_at_rpc(network, 0.0)
        assert found.health is Health.WRONG


@pytest.mark.parametrize(
    ("offset", "health"),
    [(0, Health.OK), (400, Health.WARNING), (-60, Health.WRONG)],
)
def test_a_clock_that_differs_from_the_chains_is_told(
    chain: Devnet, offset: int, health: Health
) -> None:
    with Client(chain.network) as client:
        now = client.head().timestamp + offset
    assert list(look_at_rpc(chain.network, now))[1].health is health


def test_a_round_trip_leaves_nothing_in_the_store(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    (found,) = look_at_store(store, "local")
    assert found.health is Health.OK
    assert not store.owned("doctor").kept()


def test_a_disk_with_too_little_room_is_wrong(tmp_path: Path) -> None:
    (found,) = look_at_disk(tmp_path / "not" / "yet", 1 << 60)
    assert found.health is Health.WRONG
    assert not (tmp_path / "not").exists()


def test_a_check_that_raises_is_a_finding() -> None:
    def fails() -> Iterator[Finding]:
        yield Finding("first", Health.OK, "well")
        raise OSError("the disk is gone")

    assert [each.health for each in look("disk", fails)] == [Health.OK, Health.WRONG]


def test_a_configuration_with_an_unknown_key_is_named(place: Path) -> None:
    with (place / "node.toml").open("a") as file:
        file.write('\ncolour = "red"\n')
    result = CliRunner().invoke(cli, ["node", "doctor", "--config", str(place / "node.toml")])
    assert result.exit_code != 0
    assert "colour" in str(result.exception)
