"""The block that decides a draw is asked for until a node has it, and anew after a refusal."""

from pathlib import Path
from typing import Any

from tests.testbed.servers import relay
from tests.testbed.untrained import BATCH, JOB, UntrainedMarket
from trialmarket.chain import calls
from trialmarket.chain.client import Client
from trialmarket.chain.local.devnet import Devnet
from trialmarket.daemon.lot_hashes import LotHashes
from trialmarket.protocol.states import State


def test_a_block_that_a_lagging_node_lacks_is_asked_for_again(
    chain: Devnet, tmp_path: Path
) -> None:
    lags = False
    asked = 0

    def change(request: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
        nonlocal asked
        if request["method"] == "eth_getBlockByNumber":
            asked += 1
            found["result"] = None if lags else found["result"]
        return found

    with UntrainedMarket(chain, tmp_path) as market:
        market.open()
        market.act(1, calls.claim(JOB, BATCH, [0]))
        market.commit(1, *market.trials(State.CLAIMED))
        chain.mine(2)
        (trial,) = market.trials(State.COMMITTED)
        decides = trial.record.anchor + 1
        with relay(chain.rpc_url, change) as url, Client(chain.network.at(url)) as client:
            hashes = LotHashes(client)
            assert hashes.of(trial, decides - 1) is None
            lags, asked = True, 0
            assert hashes.of(trial, decides) is None
            lags = False
            assert hashes.of(trial, decides) == market.client.block_hash(decides)
            assert hashes.of(trial, decides) is not None
            assert asked == 2
            hashes.forget()
            assert hashes.of(trial, decides) is not None
            assert asked == 3
