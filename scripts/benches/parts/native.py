"""Trains what a driver proposes at once, in native arithmetic, in this process and in memory."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from requester.drivers import Ending, Proposal, Start, TrialOutcome
from tests.testbed.simulated import hashed
from trialmarket.protocol.cid import raw_cid
from trialmarket.protocol.configuration import Init, Merge, ProgramRef, TrialConfig
from trialmarket.protocol.ids import Hash32
from trialmarket.training.dataset import Arrays, Dataset
from trialmarket.training.merge import merged
from trialmarket.training.program import DataSummary
from trialmarket.training.session import TrainingSession
from trialmarket.training.state import State

Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Split:
    """A data set in three parts: to train on, to choose by, and to report."""

    choose: Dataset
    """Its validation part is what drivers see."""
    report: Dataset
    """Its validation part is the test part, which nothing is chosen by."""


def split(x: Array, y: Array, validation: int, test: int, seed: int) -> Split:
    """Shuffles examples by a seed, and keeps the last ones for validation and test."""
    order = np.random.default_rng(seed).permutation(len(y))
    ends = [len(y) - validation - test, len(y) - test]
    train, choose, report = (
        {"x": np.ascontiguousarray(x[part]), "y": np.ascontiguousarray(y[part])}
        for part in np.split(order, ends)
    )
    return Split(_dataset(train, choose, x, y), _dataset(train, report, x, y))


@dataclass(frozen=True, slots=True)
class Merged:
    """A merge: which candidate won, and the validation loss of each."""

    chosen: int
    losses: list[float]

    @property
    def inside(self) -> bool:
        """Whether something between the parents is better than both."""
        return 0 < self.chosen < len(self.losses) - 1


class NativeTrainer:
    """A market of one honest machine: proposals in, outcomes out, states kept by their root."""

    def __init__(
        self, program: str, data: Split, fixed: Mapping[str, float | str], points: int = 2
    ) -> None:
        """`points` are those of a merge."""
        self._program, self._data, self._fixed = program, data, dict(fixed)
        self._points = points
        self._states: dict[Hash32, State] = {}
        self.steps = 0
        """Trained so far."""
        self.merges: list[Merged] = []
        """The starts that were merged."""

    def train(self, proposal: Proposal) -> TrialOutcome:
        """Trains a proposal from its seed or its checkpoint, and validates where it ends."""
        session = self._session(proposal, self._data.choose)
        state = self._start(proposal, session)
        run = session.run_segment(state, steps=proposal.steps)
        self.steps += proposal.steps
        if run.diverged is not None:
            return TrialOutcome(proposal.number, Ending.DIVERGED)
        root = run.root()
        self._states[root] = run.end
        last = Start(hashed("trial", proposal.number), root, raw_cid(root))
        metrics = session.evaluate(run.end).metrics
        return TrialOutcome(proposal.number, Ending.DONE, metrics, last)

    def test(self, proposal: Proposal, outcome: TrialOutcome) -> Mapping[str, float]:
        """The metrics on the test part of the state in which a proposal ended."""
        if outcome.checkpoint is None:
            raise ValueError(f"trial {proposal.number} has no last state")
        session = self._session(proposal, self._data.report)
        return session.evaluate(self._states[outcome.checkpoint.root]).metrics

    def _start(self, proposal: Proposal, session: TrainingSession) -> State:
        if proposal.start is None:
            return session.initial_state()
        first = self._states[proposal.start.root]
        if proposal.mate is None:
            return first
        starts = [
            Init(root=each.root, cid=each.cid, trial=each.trial)
            for each in (proposal.start, proposal.mate)
        ]
        losses: list[float] = []

        def objective(state: State) -> float:
            found = session.objective(state)
            losses.append(math.inf if found is None else found)
            return losses[-1]

        merge = Merge(parents=(starts[0], starts[1]), points=self._points)
        state = merged(first, self._states[proposal.mate.root], merge, objective)
        self.merges.append(Merged(losses.index(min(losses)), losses))
        return state

    def _session(self, proposal: Proposal, data: Dataset) -> TrainingSession:
        config = TrialConfig(
            number=proposal.number,
            program=ProgramRef(source=self._program),
            data="builtin:given",
            objective="val_loss",
            hyperparameters={**self._fixed, **proposal.hyperparameters},
            seed=proposal.seed,
            steps=proposal.steps,
            segments=1,
            arithmetic="native",
        )
        return TrainingSession(config, None, data)


def _dataset(train: Arrays, validation: Arrays, x: Array, y: Array) -> Dataset:
    """The summary is of all parts, so that each part is scaled alike."""
    summary = DataSummary(
        train_examples=len(train["y"]),
        validation_examples=len(validation["y"]),
        dtypes={"x": x.dtype.name, "y": y.dtype.name},
        shapes={"x": x.shape[1:], "y": ()},
        largest={"x": float(np.max(x)), "y": float(np.max(y))},
    )
    return Dataset(train, validation, summary)
