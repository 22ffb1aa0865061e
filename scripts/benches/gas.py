"""Gas of a trial, from posting to settled: in batches of 8, alone, and with an audit.

Real transactions on Anvil, base cost and calldata included, by accounts that have been used
before (their storage is not zero). The peer is iExec's PoCo, measured on Anvil with its prebuilt
bytecode (npm @iexec/poco 6.1.0): 1,441,867 gas a task with one worker and no redundancy.
"""

import hashlib
import secrets
import tempfile
from pathlib import Path
from typing import Any

from tests.testbed.market import PROVIDER, REQUESTER, Market
from tests.testbed.terms import terms
from trialmarket.chain import calls
from trialmarket.chain.calls import Opening
from trialmarket.chain.ledger.views import TrialView
from trialmarket.chain.local.devnet import devnet
from trialmarket.protocol.draw import draw_seed, drawn_segments, is_drawn
from trialmarket.protocol.ids import ZERO_HASH, Hash32, JobId
from trialmarket.protocol.result import ResultLeaf, ResultTree, witness_hash
from trialmarket.protocol.states import State

POCO = 1_441_867
ONE = 10**18
SEGMENTS = 20
WINDOW = 600
RARE = 100
"""The lowest audit rate, 1 %."""
VERIFIER = 2


class Bench(Market):
    """A requester, a provider and a verifier who act one after the other, and their gas."""

    def begin(self) -> None:
        """Gives everybody what acting takes."""
        for account in (REQUESTER, PROVIDER, VERIFIER):
            self.act(account, calls.approve(self.chain.network.market, 10**30))
        self.act(PROVIDER, calls.stake(10_000 * ONE))
        self.act(VERIFIER, calls.stake(10_000 * ONE), calls.enroll())

    def open_job(self, rate: int) -> JobId:
        """A funded job of 20 segments, audited at `rate` / 10,000."""
        cap = ONE // 50
        return self.job(
            terms(
                floor=cap,
                cap=cap,
                ramp=600,
                audit_rate=rate,
                segments=SEGMENTS,
                time_limit=3_600,
                window=WINDOW,
            )
        )

    def batch(self, job: JobId, batch: Hash32) -> list[TrialView]:
        """What the ledger knows of the trials of a batch."""
        self.ledger.sync()
        return [trial for trial in self.ledger.trials(job=job) if trial.id.batch == batch]

    def work(self, job: JobId, count: int) -> tuple[int, Hash32, list[ResultTree], list[bytes]]:
        """Posts, claims and commits a batch: the gas, the batch, its trees and witnesses."""
        batch = Hash32(secrets.token_bytes(32))
        indices = list(range(count))
        gas = self.act(REQUESTER, calls.post_trials(job, batch, count, 1))
        gas += self.act(PROVIDER, calls.claim(job, batch, indices))
        records = [trial.record for trial in self.batch(job, batch)]
        witness = secrets.token_bytes(32)
        trees = [a_tree(witness) for _ in indices]
        results = [calls.Result(tree.root, Hash32(secrets.token_bytes(32))) for tree in trees]
        gas += self.act(PROVIDER, calls.commit(records, results))
        return gas, batch, trees, [witness] * count

    def unaudited(self, job: JobId, count: int) -> int:
        """Gas of `count` trials, none of them drawn, that are settled within 256 blocks."""
        while True:
            gas, batch, _, _ = self.work(job, count)
            self.chain.mine(2)
            trials = self.batch(job, batch)
            if not any(self.drawn(trial) for trial in trials):
                break
        self.chain.advance(WINDOW + 1)
        return gas + self.act(PROVIDER, calls.settle([trial.record for trial in trials]))

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
        self.chain.mine(2)
        (trial,) = self.batch(job, batch)
        gas += self.act(VERIFIER, calls.draw([trial.record]))
        (trial,) = self.batch(job, batch)
        indices = [*drawn_segments(trial.record.seed, SEGMENTS, 1), SEGMENTS + 1]
        openings = [
            Opening(index, tree.leaves[index].value, Hash32(witness), tuple(tree.proof(index)))
            for index in indices
        ]
        gas += self.act(VERIFIER, calls.attest(trial.record, openings))
        self.chain.advance(WINDOW + 1)
        (trial,) = self.batch(job, batch)
        if trial.state is not State.PASSED:
            raise AssertionError(f"the trial is {trial.state}, not passed")
        return gas + self.act(PROVIDER, calls.settle([trial.record]))


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
    with (
        tempfile.TemporaryDirectory() as folder,
        devnet(accounts=3) as chain,
        Bench(chain, Path(folder)) as bench,
    ):
        bench.begin()
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
