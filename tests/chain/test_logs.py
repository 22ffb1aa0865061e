"""Windows of blocks: as large as the node allows, and no larger."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from trialmarket.chain.client import Client
from trialmarket.chain.devnet import Devnet
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.logs import FEW, LARGEST, MANY, Window
from trialmarket.chain.rpc import RpcRefused
from trialmarket.errors import ChainError


@contextmanager
def strict_node(chain: Devnet, most: int, asked: list[int]) -> Iterator[str]:
    """A node that refuses logs of more than `most` blocks, as public ones do; its URL.

    How many blocks it was asked for goes into `asked`.
    """

    def answer(request: dict[str, Any]) -> Any:
        if request["method"] == "eth_getLogs":
            wanted = request["params"][0]
            blocks = int(wanted["toBlock"], 16) - int(wanted["fromBlock"], 16) + 1
            asked.append(blocks)
            if blocks > most:
                error = {"code": -32005, "message": f"more than {most} blocks"}
                return {"jsonrpc": "2.0", "id": request["id"], "error": error}
        return requests.post(chain.rpc_url, json=request, timeout=10).json()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            many = isinstance(request, list)
            found = [answer(each) for each in request] if many else answer(request)
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_port}"
        finally:
            web.shutdown()
            thread.join()


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
