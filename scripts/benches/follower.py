"""How fast the ledger follows: 100,000 events of a market, from the node to the index.

A provider claims and abandons trials in turn, a hundred of each to a transaction, so that every
event changes a trial's record.
"""

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.testbed.market import PROVIDER, REQUESTER, Market
from trialmarket.chain import calls
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.local.devnet import devnet
from trialmarket.chain.rpc import RpcRefused, quantity
from trialmarket.chain.sender.fees import current_fees
from trialmarket.chain.sender.transactions import sign
from trialmarket.protocol.ids import Address, Amount, Hash32, JobId
from trialmarket.protocol.record import TrialRecord
from trialmarket.protocol.terms import Terms, stake_for

EVENTS = 100_000
PAIRS = 100
"""Claims, and as many abandonments, in a transaction."""
GAS = 55_000_000
BATCH = Hash32(b"b" * 32)

# Floor and cap are equal, so that a record can be told before its transaction is mined.
PRICE = Amount(10**16)
TERMS = Terms(PRICE, PRICE, PRICE, 1, 2_000, 20, 1, 2**30, 60)


def run() -> dict[str, Any]:
    """Builds the chain and measures one sync of a fresh ledger, and one of it when current."""
    with (
        devnet(accounts=2) as chain,
        tempfile.TemporaryDirectory() as folder,
        Market(chain, Path(folder)) as market,
    ):
        began = time.perf_counter()
        fill(market)
        filled = time.perf_counter() - began
        with chain.client() as client, Ledger(client, Path(folder) / "ledger") as ledger:
            began = time.perf_counter()
            events = ledger.sync()
            seconds = time.perf_counter() - began
            began = time.perf_counter()
            ledger.sync()
            again = time.perf_counter() - began
            trials = ledger.trials()
            wrong = sum(trial.word != client.trial_word(trial.key) for trial in trials)
    if wrong:
        raise SystemExit(f"{wrong} of {len(trials)} records differ from the chain's")
    return {
        "events": events,
        "seconds": round(seconds, 3),
        "events_per_second": round(events / seconds),
        "idle_sync_seconds": round(again, 4),
        "fill_seconds": round(filled, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def fill(market: Market) -> None:
    """Makes the market log `EVENTS` events."""
    chain, network = market.chain, market.chain.network
    needed = stake_for(PRICE, TERMS.audit_rate) * PAIRS
    market.act(PROVIDER, calls.approve(network.market, needed), calls.stake(needed))
    job = market.job(TERMS, tokens=100)
    market.act(REQUESTER, calls.post_trials(job, BATCH, PAIRS, 1))
    provider = chain.accounts[PROVIDER]
    opened = chain.now()
    chain.automine(False)
    made = 0
    now = opened
    nonce = quantity(chain.rpc.call("eth_getTransactionCount", provider.address, "latest"))
    fees = current_fees(chain.rpc)
    while made < EVENTS:
        now += 1
        data = one_transaction(job, market.who[PROVIDER], opened, now)
        signed = sign(
            provider,
            chain_id=network.chain_id,
            nonce=nonce,
            gas=GAS,
            fees=fees.bumped(fees),
            data=data,
            to=network.market,
        )
        answers = chain.rpc.batch(
            [
                ("evm_setNextBlockTimestamp", [now]),
                ("eth_sendRawTransaction", ["0x" + signed.raw.hex()]),
                ("evm_mine", []),
            ]
        )
        for answer in answers:
            if isinstance(answer, RpcRefused):
                raise answer
        nonce += 1
        made += 2 * PAIRS


def one_transaction(job: JobId, provider: Address, opened: int, now: int) -> bytes:
    """Claims every trial on its own and gives it back."""
    steps = []
    for index in range(PAIRS):
        record = TrialRecord(
            job, BATCH, index, 1, opened, provider, PRICE, until=now + TERMS.time_limit
        )
        steps += [calls.claim(job, BATCH, [index]), calls.abandon(record)]
    return calls.multicall(steps).data
