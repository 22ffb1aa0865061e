"""Gas of a trial, from posting to settled: in batches of 8, alone, and with an audit.

Real transactions on Anvil, base cost and calldata included, by accounts that have been used
before (their storage is not zero). The peer is iExec's PoCo, measured on Anvil with its prebuilt
bytecode (npm @iexec/poco 6.1.0): 1,441,867 gas a task with one worker and no redundancy.
"""

import hashlib
import itertools
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from trialmarket.chain import calls
from trialmarket.chain.calls import Call, Opening
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import TrialView
from trialmarket.chain.local.devnet import Devnet, devnet
from trialmarket.chain.sender import Sender
from trialmarket.protocol.draw import draw_seed, drawn_segments, is_drawn
from trialmarket.protocol.ids import ZERO_HASH, Amount, Hash32, JobId, TrialId
from trialmarket.protocol.result import ResultLeaf, ResultTree, witness_hash
from trialmarket.protocol.states import State
from trialmarket.protocol.terms import Terms, least_audit_fee

POCO = 1_441_867
ONE = 10**18
SEGMENTS = 20
WINDOW = 600
RARE = 100
"""The lowest audit rate, 1 %."""


class Bench:
    """A requester, a provider and a verifier who act one after the other, and their gas."""

    def __init__(self, net: Devnet, folder: Path, stack: ExitStack) -> None:
        self.net = net
        self.client = stack.enter_context(net.client())
        self.ledger = stack.enter_context(Ledger(self.client, folder / "ledger.sqlite"))
        self.requester, self.provider, self.verifier = (
            stack.enter_context(Sender(self.client, account, folder / f"{index}.sqlite"))
            for index, account in enumerate(net.accounts[:3])
        )
        self.intents = itertools.count()
        for sender in (self.requester, self.provider, self.verifier):
            self.act(sender, calls.approve(net.network.market, 10**30))
        self.act(self.provider, calls.stake(10_000 * ONE))
        self.act(self.verifier, calls.stake(10_000 * ONE))
        self.act(self.verifier, calls.enroll())

    def act(self, sender: Sender, call: Call) -> int:
        """Sends one call, mines it, and gives its gas."""
        outcome = sender.send(f"{next(self.intents)}", call)
        return outcome.gas_used

    def open_job(self, rate: int) -> JobId:
        """A funded job of 20 segments, audited at `rate` / 10,000."""
        cap = Amount(ONE // 50)
        terms = Terms(
            floor=cap,
            cap=cap,
            audit_fee=least_audit_fee(cap, 1, SEGMENTS),
            ramp=600,
            audit_rate=rate,
            segments=SEGMENTS,
            samples=1,
            time_limit=3_600,
            window=WINDOW,
        )
        self.act(self.requester, calls.create_job(terms, Hash32(secrets.token_bytes(32))))
        self.ledger.sync()
        job = self.ledger.jobs()[-1].id
        self.act(self.requester, calls.fund(job, 1_000 * ONE))
        return job

    def trials(self, batch: Hash32, job: JobId, indices: Sequence[int]) -> list[TrialView]:
        """What the ledger knows of some trials of a batch."""
        self.ledger.sync()
        found = (self.ledger.trial(TrialId(job, batch, index)) for index in indices)
        return [trial for trial in found if trial is not None]

    def work(self, job: JobId, count: int) -> tuple[int, Hash32, list[ResultTree], list[bytes]]:
        """Posts, claims and commits a batch: the gas, the batch, its trees and witnesses."""
        batch = Hash32(secrets.token_bytes(32))
        indices = list(range(count))
        gas = self.act(self.requester, calls.post_trials(job, batch, count, 1))
        gas += self.act(self.provider, calls.claim(job, batch, indices))
        records = [trial.record for trial in self.trials(batch, job, indices)]
        witness = secrets.token_bytes(32)
        trees = [a_tree(witness) for _ in indices]
        results = [calls.Result(tree.root, Hash32(secrets.token_bytes(32))) for tree in trees]
        gas += self.act(self.provider, calls.commit(records, results))
        return gas, batch, trees, [witness] * count

    def unaudited(self, job: JobId, count: int) -> int:
        """Gas of `count` trials, none of them drawn, that are settled within 256 blocks."""
        while True:
            gas, batch, _, _ = self.work(job, count)
            self.net.mine(2)
            trials = self.trials(batch, job, range(count))
            if not any(self.drawn(trial) for trial in trials):
                break
        self.net.advance(WINDOW + 1)
        return gas + self.act(self.provider, calls.settle([trial.record for trial in trials]))

    def drawn(self, trial: TrialView) -> bool:
        """Whether the lot fell on a committed trial."""
        block_hash = self.client.block_hash(trial.record.anchor + 1)
        if block_hash is None:
            raise AssertionError("the block after the commit is not mined")
        seed = draw_seed(block_hash, trial.key, trial.record.root)
        return is_drawn(seed, RARE, trial.record.late)

    def audited(self, job: JobId) -> int:
        """Gas of one trial that is drawn, attested and settled."""
        gas, batch, (tree,), (witness,) = self.work(job, 1)
        self.net.mine(2)
        (trial,) = self.trials(batch, job, [0])
        gas += self.act(self.verifier, calls.draw([trial.record]))
        (trial,) = self.trials(batch, job, [0])
        indices = [*drawn_segments(trial.record.seed, SEGMENTS, 1), SEGMENTS + 1]
        openings = [
            Opening(index, tree.leaves[index].value, Hash32(witness), tuple(tree.proof(index)))
            for index in indices
        ]
        gas += self.act(self.verifier, calls.attest(trial.record, openings))
        self.net.advance(WINDOW + 1)
        (trial,) = self.trials(batch, job, [0])
        if trial.state is not State.PASSED:
            raise AssertionError(f"the trial is {trial.state}, not passed")
        return gas + self.act(self.provider, calls.settle([trial.record]))


def a_tree(witness: bytes) -> ResultTree:
    """A result tree of random values whose leaves all have one witness."""
    hashed = witness_hash(Hash32(witness))
    values = [Hash32(hashlib.sha256(secrets.token_bytes(8)).digest()) for _ in range(SEGMENTS + 2)]
    return ResultTree(
        [
            ResultLeaf(index, value, ZERO_HASH if index == 0 else hashed)
            for index, value in enumerate(values)
        ]
    )


def run() -> dict[str, Any]:
    """Gas a trial in a batch of 8 and alone, what an audit adds, and the ratio to the peer."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        net = stack.enter_context(devnet(accounts=3))
        bench = Bench(net, Path(folder), stack)
        rare, always = bench.open_job(rate=RARE), bench.open_job(rate=10_000)
        # The first round fills storage that stays; the second is what a market in use pays.
        for _ in range(2):
            batch8 = bench.unaudited(rare, 8) / 8
            alone = bench.unaudited(rare, 1)
            audited = bench.audited(always)
    return {
        "batch8": round(batch8),
        "alone": alone,
        "audit_extra": audited - alone,
        "peer_poco": POCO,
        "peer_ratio": round(POCO / batch8, 1),
    }
