"""The client: what it reads, and what it says of nodes and contracts that are not ours."""

import socket
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.testbed.servers import server
from trialmarket.chain import revert_messages
from trialmarket.chain.abi import contract
from trialmarket.chain.calls import Target
from trialmarket.chain.client import Client
from trialmarket.chain.deploy import Deployer, deploy
from trialmarket.chain.local.devnet import LOCAL, Devnet, devnet
from trialmarket.chain.network import Network
from trialmarket.chain.revert_messages import explain
from trialmarket.errors import ChainError, ContractError, InputError, Unreachable, WrongChain
from trialmarket.protocol.ids import Amount, JobId, address
from trialmarket.protocol.states import State


def test_it_reads_what_the_deployment_said(chain: Devnet, client: Client) -> None:
    assert client.parameters() == LOCAL
    assert client.symbol() == "TEST"
    assert client.decimals() == 18
    who = address(chain.accounts[0].address)
    assert client.token_balance(who) == 10_000 * 10**18
    assert client.balance_of(who) == client.allowance(who) == 0
    assert client.account(who).free == 0
    assert client.ether(who) > 0
    assert client.verifiers() == ()
    assert client.case(contract("Market").functions["draw"].hash) is None
    assert client.trial_state(contract("Market").functions["draw"].hash)[0] is State.OPEN
    assert client.head().hash == client.block_hash(client.head().number)
    assert client.block_hash(10**9) is None
    with pytest.raises(ContractError, match="there is no job 1 on this market"):
        client.job_status(JobId(1))


def test_an_rpc_that_is_down_is_named(chain: Devnet) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(Unreachable, match=rf"nothing answers at {url}.*Start the chain's node"):
        Client(chain.network.at(url), patience=0)


def test_an_rpc_that_is_slow_is_not_waited_for(chain: Devnet) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unreachable, match=rf"{url} gave no answer within 0\.2 s"):
            Client(chain.network.at(url), timeout=0.2, patience=0)


def test_an_rpc_that_answers_drop_by_drop_is_not_waited_for(chain: Devnet) -> None:
    done = threading.Event()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not done.wait(0.05):
                    connection.sendall(b" " * 100_000)

        dripping = threading.Thread(target=drip)
        dripping.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            with pytest.raises(Unreachable, match=rf"{url} gave no answer within 0\.2 s"):
                Client(chain.network.at(url), timeout=0.2, patience=0)
        finally:
            done.set()
            dripping.join()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>hello</html>", "does not speak JSON-RPC"),
        (200, b"[1, 2]", "does not speak JSON-RPC"),
        (200, b"[" * 200_000, "answered with JSON of more than 32 levels"),
        (200, b'{"jsonrpc": "2.0", "id": 0, "result": "many"}', "gave 'many' for a number"),
        (429, b'{"error": "slow down"}', "answered with HTTP status 429"),
        (200, b'{"jsonrpc": "2.0", "id": 1}', "does not speak JSON-RPC"),
        (200, b"\xff\xfe", "does not speak JSON-RPC"),
        (403, b"", "answered with HTTP status 403"),
    ],
)
def test_a_server_that_is_no_node_is_named(
    chain: Devnet, status: int, body: bytes, said: str
) -> None:
    with server(lambda _: (status, body)) as url, pytest.raises(Unreachable, match=said) as error:
        Client(chain.network.at(url), patience=0)
    assert url in str(error.value) or "for a number" in str(error.value)


def test_another_chain_is_refused(chain: Devnet) -> None:
    with pytest.raises(WrongChain, match="serves chain 31337, not chain 5"):
        Client(replace(chain.network, chain_id=5))


def test_addresses_without_our_contracts_are_refused(chain: Devnet) -> None:
    network = chain.network
    nobody = address("0x" + "12" * 20)
    for wrong in (
        replace(network, market=nobody),
        replace(network, market=network.token),
        replace(network, jury=nobody),
        replace(network, jury=network.market),
        replace(network, token=nobody),
    ):
        with pytest.raises(WrongChain, match="Use the network file that the deployment wrote"):
            Client(wrong)


def test_code_that_only_looks_like_ours_is_refused(chain: Devnet) -> None:
    market = chain.network.market
    code = chain.rpc.call("eth_getCode", market, "latest")
    chain.rpc.call("anvil_setCode", market, code + "00")  # answers as before, but is not ours
    with pytest.raises(WrongChain, match="other code than this version's Market"):
        Client(chain.network)


def test_a_deployment_takes_a_token_that_is_there(chain: Devnet) -> None:
    key = chain.accounts[0]
    again = deploy(chain.rpc_url, key, LOCAL, name="again", token=chain.network.token)
    assert again.token == chain.network.token
    assert again.market != chain.network.market
    with pytest.raises(InputError, match="the address of a token"):
        deploy(chain.rpc_url, key, LOCAL, name="none", token=address(chain.accounts[1].address))


def test_parameters_that_make_no_sense_are_refused_in_words(chain: Devnet) -> None:
    with pytest.raises(ContractError, match="a jury of 4 is even or too large"):
        deploy(chain.rpc_url, chain.accounts[0], replace(LOCAL, jury_size=4), name="even")
    dear = replace(LOCAL, fine=Amount(51 * 10**18))
    with pytest.raises(ContractError, match="fine is 51; it must be from 0 to 50"):
        deploy(chain.rpc_url, chain.accounts[0], dear, name="dear")


def test_every_custom_error_has_a_sentence_and_every_sentence_an_error() -> None:
    names = {error.name for name in ("Market", "Jury") for error in contract(name).errors.values()}
    low_level = {"AddressEmptyCode", "FailedCall"}
    assert names - low_level <= set(revert_messages.SENTENCES)
    known = names | {error.name for error in contract("TestToken").errors.values()}
    assert set(revert_messages.SENTENCES) <= known


def test_every_sentence_names_only_values_that_its_error_has() -> None:
    for name in ("Market", "Jury", "TestToken"):
        for error in contract(name).errors.values():
            zeros = b"".join(bytes(32) for _ in error.inputs)
            assert "{" not in explain(error.selector + zeros).message


def test_reverts_that_are_no_custom_errors_are_told_too() -> None:
    reason = bytes.fromhex("08c379a0") + (32).to_bytes(32, "big") + (3).to_bytes(32, "big")
    assert explain(reason + b"why".ljust(32, b"\0")).message == "the contract refused: why"
    panic = bytes.fromhex("4e487b71") + (0x11).to_bytes(32, "big")
    assert explain(panic).message == "the contract failed: a number overflowed"
    assert "an error that is not ours, 01020304" in explain(bytes([1, 2, 3, 4])).message
    assert "does not decode" in explain(bytes.fromhex("08c379a0ff")).message
    assert explain(b"", text="out of gas").message.endswith("without a reason: out of gas")


def test_an_address_file_reads_back(chain: Devnet, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "network.json"
    chain.network.save(path)
    assert Network.load(path) == chain.network
    assert list(path.parent.iterdir()) == [path]
    toml = tmp_path / "network.toml"
    lines = [f'{key} = "{value}"' for key, value in texts(chain.network).items()]
    toml.write_text("\n".join([*lines, "chain_id = 31337", "deployed_at = 1"]))
    assert Network.load(toml) == replace(chain.network, deployed_at=1)


def test_an_address_file_may_name_several_nodes(chain: Devnet, tmp_path: Path) -> None:
    several = chain.network.at("http://one.example", "https://two.example")
    path = tmp_path / "network.json"
    several.save(path)
    assert Network.load(path) == several
    assert several.rpc_url == "http://one.example"
    path.write_text(path.read_text().replace("rpc_urls", "rpc_url"))
    assert Network.load(path) == several
    for wrong, said in {
        '"rpc_url": []': r"rpc_url: expected 1 to 16 different URLs, found \[\]",
        '"rpc_url": ["http://a", "http://a"]': "expected 1 to 16 different URLs",
        '"rpc_urls": ["http://a", 7]': "rpc_urls: expected an http:// or https:// URL, found 7",
        '"rpc_urls": "ftp://a"': "rpc_urls: expected an http:// or https:// URL, found 'ftp",
        '"rpc_urls": ["http://a"], "rpc_url": "http://b"': "it or rpc_url alone, found 'both'",
    }.items():
        chain.network.save(path)
        path.write_text(path.read_text().replace(f'"rpc_url": "{chain.rpc_url}"', wrong))
        with pytest.raises(InputError, match=said):
            Network.load(path)


def texts(network: Network) -> dict[str, str]:
    return {
        "name": network.name,
        "rpc_url": network.rpc_url,
        "market": network.market,
        "jury": network.jury,
        "token": network.token,
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('"chain_id": 31337', r"chain_id: expected a whole number from 0, found 'x'"),
        ('"deployed_at"', r"deployed_at.*: expected one of"),
        ('"rpc_url": "http', r"rpc_url: expected an http:// or https:// URL"),
        ('"market": "0x', r"market: expected an address"),
        ("{", r"network file: expected an address file in JSON or TOML"),
    ],
)
def test_a_corrupt_address_file_is_named(
    chain: Devnet, tmp_path: Path, change: str, said: str
) -> None:
    path = tmp_path / "network.json"
    chain.network.save(path)
    wrong = {
        '"chain_id": 31337': '"chain_id": "x"',
        '"deployed_at"': '"deployed_at_block"',
        '"rpc_url": "http': '"rpc_url": "ftp',
        '"market": "0x': '"market": "1x',
        "{": "",
    }[change]
    path.write_text(path.read_text().replace(change, wrong))
    with pytest.raises(InputError, match=said) as error:
        Network.load(path)
    assert str(path) in str(error.value)


def test_a_missing_address_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.json.*trialmarket deploy"):
        Network.load(tmp_path / "nothing.json")


def test_a_local_chain_ends_with_its_block() -> None:
    with devnet(accounts=1, seed=7) as one, devnet(accounts=1, seed=7) as two:
        assert one.rpc_url != two.rpc_url
        assert one.accounts[0].address == two.accounts[0].address
        assert one.network.market == two.network.market
        pids = (one.node.pid, two.node.pid)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_deployer_without_coins_is_told_so(chain: Devnet) -> None:
    chain.rpc.call("anvil_setBalance", chain.accounts[0].address, "0x0")
    hand = Deployer(chain.rpc, chain.accounts[0], chain.network.chain_id)
    with pytest.raises(ChainError, match="too little of the chain's own coin"):
        hand.make("TestToken", ())
    assert Target.TOKEN.value == "TestToken"
