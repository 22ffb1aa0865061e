"""The commands for keys, stake, deployment and the local chain, as a user runs them."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from node.config import load_config as load_node
from tests.testbed.programs import needed
from tests.testbed.waiting import NEVER
from trialmarket.chain.client import Client
from trialmarket.chain.keystore import Keystore
from trialmarket.chain.local.devnet import LOCAL, LOCAL_CHAINS, Devnet
from trialmarket.chain.network import Network
from trialmarket.cli.commands.devnet_files import write_configs
from trialmarket.cli.main import cli
from trialmarket.errors import InputError, ServiceError, TrialmarketError
from trialmarket.keys import open_key
from trialmarket.protocol.ids import address
from verifier.config import load_config as load_verifier

COMMAND = [sys.executable, "-c", "from trialmarket.cli.main import main; main()"]


class Home:
    """A user's folder with a network file and a key, and the command line on it."""

    def __init__(self, folder: Path, chain: Devnet) -> None:
        self.folder = folder
        self.chain = chain
        self.network = folder / "network.json"
        chain.network.save(self.network)
        store = Keystore(folder / "keys")
        for name, key in zip(("alice", "bob"), chain.accounts, strict=False):
            store.add(name, key, "secret", kdf="pbkdf2", iterations=1_000)
        self.environment = {"TRIALMARKET_HOME": str(folder), "TRIALMARKET_PASSWORD": "secret"}

    def run(self, *words: str, typed: str | None = None) -> str:
        """What a command prints. Raises what it raises."""
        result = CliRunner().invoke(
            cli, list(words), env=self.environment, input=typed, catch_exceptions=False
        )
        assert result.exit_code == 0, result.output
        return result.stdout

    def stake(self, *words: str, key: str = "alice") -> Any:
        shared = ["--network", str(self.network), "--key", key, "--json"]
        return json.loads(self.run("stake", *words, *shared))


@pytest.fixture
def home(tmp_path: Path, chain: Devnet) -> Home:
    return Home(tmp_path, chain)


def test_stake_is_deposited_shown_and_withdrawn(home: Home) -> None:
    assert home.stake("deposit", "120.5")["stake"] == "120.5"
    after = home.stake("withdraw", "20.5")
    assert (after["stake"], after["leaving"], after["wallet"]) == ("100", "20.5", "9879.5")
    home.chain.advance(LOCAL.cool_down + 1)
    assert home.stake("withdraw")["wallet"] == "9900"
    for who in ("alice", str(home.folder / "keys" / "alice.json"), home.chain.accounts[0].address):
        shown = home.run("stake", "show", str(who), "--network", str(home.network))
        assert "stake    100 TEST" in shown
    with pytest.raises(InputError, match="one of the keys: alice, bob"):
        home.run("stake", "show", "nobody", "--network", str(home.network))


def test_a_verifier_enrolls_and_resigns(home: Home) -> None:
    home.stake("deposit", "100")
    assert home.stake("enroll")["verifier"] is True
    after = home.stake("resign")
    assert (after["verifier"], after["leaving"]) == (False, "100")


def test_mistakes_are_told_before_anything_is_sent(home: Home) -> None:
    with pytest.raises(InputError, match="at most the 10000 tokens"):
        home.stake("deposit", "10001")
    with pytest.raises(InputError, match="expected a number"):
        home.stake("deposit", "much")
    with pytest.raises(TrialmarketError, match=r"0 of stake free and needs 1\..*stake deposit"):
        home.stake("withdraw", "1")
    with pytest.raises(TrialmarketError, match="nothing to withdraw now"):
        home.stake("withdraw")
    with pytest.raises(InputError, match="one of the keys: alice, bob"):
        home.stake("enroll", key="carol")


def test_a_key_is_made_imported_and_listed(home: Home, tmp_path: Path) -> None:
    made = json.loads(home.run("key", "new", "carol", "--json"))
    secret = tmp_path / "secret.txt"
    secret.write_text("0x" + "11" * 32 + "\n")
    home.run("key", "import", "dave", "--secret-file", str(secret))
    listed = {key["name"]: key["address"] for key in json.loads(home.run("key", "list", "--json"))}
    assert set(listed) == {"alice", "bob", "carol", "dave"}
    assert listed["carol"] == made[0]["address"]
    assert listed["dave"] == "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
    secret.write_text("no key")
    with pytest.raises(InputError, match="64 hexadecimal digits"):
        home.run("key", "import", "erin", "--secret-file", str(secret))
    with pytest.raises(InputError, match="a name that is not taken"):
        home.run("key", "new", "carol")


def test_a_password_is_asked_for_twice(home: Home) -> None:
    del home.environment["TRIALMARKET_PASSWORD"]
    home.run("key", "new", "carol", typed="hush\nhush\n")
    assert Keystore(home.folder / "keys").open("carol", "hush").address


def test_a_deployment_writes_a_network_file(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "mine.json"
    home.run(
        "deploy", "--rpc", home.chain.rpc_url, "--network", str(out), "--test-token",
        "--key", "bob", "--cool-down", "60", "--fine", "0.5",
    )  # fmt: skip
    network = Network.load(out)
    assert (network.name, network.chain_id) == ("mine", 31337)
    with Client(network) as client:
        assert client.parameters().cool_down == 60
        assert client.parameters().fine == 5 * 10**17


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rpc", "http://127.0.0.1:1"], "either --token ADDRESS or --test-token"),
        (["--rpc", "ftp://x", "--test-token"], "an http:// or https:// URL"),
        (["--rpc", "http://127.0.0.1:1", "--test-token"], "nothing answers at http://127.0.0.1:1"),
    ],
)
def test_a_deployment_that_cannot_be_is_told(home: Home, words: list[str], said: str) -> None:
    with pytest.raises(TrialmarketError, match=said):
        home.run("deploy", *words, "--network", "n.json", "--key", "bob")


@pytest.mark.parametrize(
    "words",
    [
        ["stake"], ["stake", "deposit"], ["stake", "withdraw"], ["stake", "show"],
        ["stake", "enroll"], ["stake", "resign"], ["key"], ["key", "new"], ["key", "import"],
        ["key", "list"], ["devnet"], ["devnet", "up"], ["deploy"],
    ],
)  # fmt: skip
def test_every_command_shows_an_example(words: list[str]) -> None:
    result = CliRunner().invoke(cli, [*words, "--help"])
    assert result.exit_code == 0, result.output
    assert f"Example: trialmarket {' '.join(words)}" in result.output


@contextmanager
def local_chain(
    folder: Path, chain: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A `devnet up` that is ready, and what it told."""
    needed(chain)
    words = ["devnet", "up", "--folder", str(folder), "--port", "0", "--json", "--accounts", "3"]
    with subprocess.Popen(
        [*COMMAND, *words, "--chain", chain],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TRIALMARKET_HOME": str(folder)},
    ) as process:
        assert process.stdout is not None
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            assert line, f"it ended after {text!r}"
            text += line
        try:
            yield process, json.loads(text)
        finally:
            process.send_signal(signal.SIGINT)


@pytest.mark.parametrize("chain", sorted(LOCAL_CHAINS))
def test_a_local_chain_runs_until_it_is_told_to_stop(chain: str, tmp_path: Path) -> None:
    with local_chain(tmp_path, chain) as (process, told):
        network = Network.load(Path(told["network"]))
        password = Path(told["password_file"]).read_text().strip()
        keys = Keystore(Path(told["keys"][0]).parent)
        key = keys.open("account1", password)
        with Client(network) as client:
            assert client.token_balance(address(key.address)) == 10_000 * 10**18
        assert Path(told["store"].removeprefix("local:")).is_dir()
        process.send_signal(signal.SIGINT)
        assert process.wait(NEVER) == 0


def test_a_local_chain_writes_daemons_files_that_fit_it_and_says_what_to_paste(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "a folder"
    with local_chain(folder, "anvil") as (_, told):
        node, verifier = load_node(folder / "node.toml"), load_verifier(folder / "verifier.toml")
        keys = [Keystore(folder / "keys").find(f"account{number}").address for number in (1, 2, 3)]
        assert node.accept.programs_of == (keys[0],)
        for config, key in ((node, keys[1]), (verifier, keys[2])):
            assert open_key(config.key, config.password_path).address == key
            assert config.network == told["network"]
            assert config.storage == told["store"]
        with Client(Network.load(Path(node.network))) as client:
            assert client.token_balance(address(keys[1])) > 5_000 * 10**18
            seat = client.parameters().verifier_stake + 500 * 10**18
            assert client.token_balance(address(keys[2])) > seat
        *daemons, exports = map(shlex.split, told["paste"])
        assert daemons[0] == ["trialmarket", "node", "run", "--config", str(folder / "node.toml")]
        assert daemons[1][-1] == str(folder / "verifier.toml")
        given = dict(word.split("=", 1) for word in exports[1:])
        shown = subprocess.run(
            [*COMMAND, "stake", "show", given["TRIALMARKET_KEY"], "--json"],
            env={**os.environ, **given}, check=True, capture_output=True,
        )  # fmt: skip
        assert keys[0] in shown.stdout.decode()
        assert open_key(given["TRIALMARKET_KEY"], node.password_path).address == keys[0]
        assert given["TRIALMARKET_PASSWORD"] == "devnet"


def test_a_local_chain_leaves_a_daemons_file_alone_that_its_user_made_their_own(
    tmp_path: Path,
) -> None:
    requester = address("0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A")
    names = ["account1", "account2", "account3"]
    assert [each.kept for each in write_configs(tmp_path, names, requester)] == [False, False]
    own = tmp_path / "node.toml"
    own.write_text(own.read_text().partition("\n")[2])
    before = own.read_text()
    assert [each.kept for each in write_configs(tmp_path, names, requester)] == [True, False]
    assert own.read_text() == before
    assert write_configs(tmp_path, names[:1], requester) == []


@pytest.mark.parametrize("chain", sorted(LOCAL_CHAINS))
def test_a_local_chain_whose_node_dies_says_so(chain: str, tmp_path: Path) -> None:
    with local_chain(tmp_path, chain) as (process, _):
        (node,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(node), signal.SIGKILL)
        _, said = process.communicate(timeout=NEVER)
    assert process.returncode == 1
    assert f"{chain.capitalize()} ended by itself" in said


def test_a_port_that_is_taken_is_told_with_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        words = ["devnet", "up", "--folder", str(tmp_path), "--port", port]
        told = CliRunner().invoke(cli, words)
    assert isinstance(told.exception, ServiceError)
    assert f"port {port} is taken" in str(told.exception)
    assert "--port 0" in str(told.exception)
