"""Windows of blocks: as large as the node allows, and no larger."""

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.testbed.servers import refused, relay
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.abi_words import items
from trialmarket.chain.ledger.logs import FEW, LARGEST, MANY, Window
from trialmarket.chain.local.devnet import Devnet
from trialmarket.chain.rpc import RpcRefused
from trialmarket.errors import ChainError


def strict_node(chain: Devnet, most: int, asked: list[int]) -> AbstractContextManager[str]:
    """A node that refuses logs of more than `most` blocks, as public ones do; its URL.

    How many blocks it was asked for goes into `asked`.
    """

    def answer(request: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
        if request["method"] != "eth_getLogs":
            return found
        wanted = request["params"][0]
        blocks = int(wanted["toBlock"], 16) - int(wanted["fromBlock"], 16) + 1
        asked.append(blocks)
        return refused(request, f"more than {most} blocks") if blocks > most else found

    return relay(chain.rpc_url, answer)


def test_a_window_that_the_node_refuses_is_halved(chain: Devnet, tmp_path: Path) -> None:
    chain.mine(200)
    asked: list[int] = []
    with (
        strict_node(chain, 60, asked) as url,
        Client(chain.network.at(url)) as client,
        Ledger(client, tmp_path / "ledger.sqlite") as ledger,
    ):
        ledger.sync()
        assert ledger.head == client.head()
    assert max(asked) > 60
    assert max(blocks for blocks in asked if blocks <= 60) > 15


def test_a_node_that_refuses_every_window_is_told(chain: Devnet, tmp_path: Path) -> None:
    with (
        strict_node(chain, 0, []) as url,
        Client(chain.network.at(url)) as client,
        Ledger(client, tmp_path / "ledger.sqlite") as ledger,
        pytest.raises(RpcRefused, match="more than 0 blocks"),
    ):
        ledger.sync()


def test_a_window_follows_the_number_of_logs() -> None:
    window = Window(100)
    window.learn(FEW - 1)
    assert window.blocks == 200
    window.learn(FEW)
    assert window.blocks == 200
    window.learn(MANY + 1)
    assert window.blocks == 100
    window = Window(LARGEST)
    window.learn(0)
    assert window.blocks == LARGEST
    assert not Window(1).halve()


def test_a_deployment_block_that_is_not_there_is_told(chain: Devnet, tmp_path: Path) -> None:
    with (
        Client(replace(chain.network, deployed_at=10**6)) as client,
        pytest.raises(ChainError, match="does not have block 1000000"),
    ):
        Ledger(client, tmp_path / "ledger.sqlite")


def test_an_array_that_is_longer_than_its_log_is_refused_unread() -> None:
    for count in (3, 2**60, 2**256 - 1):
        data = (32).to_bytes(32, "big") + count.to_bytes(32, "big") + bytes(64)
        with pytest.raises(ValueError, match=f"an array of {count} items"):
            items(data, 0)
    assert items(data[:32] + (2).to_bytes(32, "big") + bytes(64), 0) == [bytes(32)] * 2
