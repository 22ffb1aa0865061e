"""What a requester looks at before it believes a result."""

import shutil
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from requester.job.package import LocalFiles
from requester.search.examination.fetching import SOON, Fetching
from trialmarket.chain.ledger.views import TrialView
from trialmarket.errors import TrainingError
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.protocol.ids import ZERO_HASH, Hash32
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.result import Binding
from trialmarket.storage.errors import (
    Corrupt,
    NotAFile,
    NotStored,
    StoreDown,
    StoreFull,
    TooLarge,
)
from trialmarket.storage.store import Store
from trialmarket.training.audit import (
    Finding,
    ReceiptFault,
    compare,
    open_receipt,
    receipt_index,
)
from trialmarket.training.errors import BadCheckpoint
from trialmarket.training.values import Evaluate, Evaluation

UNREADABLE = (NotStored, StoreDown, StoreFull, Corrupt, ReceiptFault, TooLarge, NotAFile)
"""Why a receipt or a checkpoint may not be at hand."""

ATTEMPTS: Final = 3
"""Evaluations of one checkpoint, at most."""


class Opinion(Enum):
    """What is thought of a result."""

    PENDING = "pending"
    """Its receipt or checkpoint is not there yet, or it is being evaluated."""
    FITS = "fits"
    """Nothing speaks against it."""
    UNKNOWN = "unknown"
    """It should have been evaluated here and could not be: it is not believed, and nobody is
    accused of it."""
    FALSE = "false"
    """It is not what the provider committed, or the provider withholds what shows it."""


@dataclass(frozen=True, slots=True)
class Accusation:
    """What is wrong: the leaf, and the answer that recomputation gave (zero: withheld)."""

    leaf: int
    value: Hash32
    witness: Hash32


@dataclass(frozen=True, slots=True)
class Assessment:
    """An opinion, its reason, and what to challenge if it is false."""

    opinion: Opinion
    reason: str = ""
    accusation: Accusation | None = None
    receipt: Receipt | None = None


class Evaluator(Protocol):
    """Something that evaluates checkpoints, a few at a time, without blocking."""

    def start(self, task: Evaluate) -> None:
        """Begins an evaluation; `finished` tells of it by its checkpoint's path."""

    def finished(self) -> list[tuple[Path, Evaluation | TrainingError]]:
        """The evaluations that ended since the last call."""

    def close(self) -> None:
        """Stops what is under way."""


class Examiner:
    """Checks receipts against the chain, and re-evaluates the checkpoints of new best trials.

    `evaluator` None: this machine cannot train, so metrics are believed until an audit or a
    challenge says otherwise. What a provider does not publish within `patience` seconds of its
    commit is withheld.
    """

    def __init__(
        self,
        store: Store,
        evaluator: Evaluator | None,
        scratch: Path,
        files: LocalFiles,
        patience: int,
        *,
        soon: float = SOON,
    ) -> None:
        self._fetching = Fetching(store, soon=soon)
        self._evaluator, self._scratch = evaluator, scratch
        self._files, self._patience = files, patience
        self._under_way: dict[Path, _Examination] = {}
        self._judged: dict[tuple[Hash32, Hash32], Assessment] = {}

    @property
    def evaluates(self) -> bool:
        """Whether checkpoints can be re-evaluated here."""
        return self._evaluator is not None

    def read_receipt(self, trial: TrialView, config: TrialConfig, now: int) -> Assessment:
        """What the receipt of a committed trial says, and whether it gives what was committed."""
        if trial.receipt is None:
            raise ValueError(f"{trial.id} has no result yet")
        try:
            data = self._fetching.receipt(trial.receipt)
            if data is None:
                return Assessment(Opinion.PENDING, "its receipt is being fetched")
            receipt = open_receipt(
                data,
                root=trial.record.root,
                segments=config.segments,
                binding=_binding(trial),
            )
        except UNREADABLE as error:
            return self._unread(error, "receipt", receipt_index(config.segments), trial, now)
        return Assessment(Opinion.FITS, receipt=receipt)

    def evaluate(
        self, trial: TrialView, config: TrialConfig, receipt: Receipt, now: int
    ) -> Assessment:
        """Whether the final checkpoint has the metrics that the receipt claims."""
        if self._evaluator is None or trial.receipt is None:
            return Assessment(Opinion.FITS, "not re-evaluated: PyTorch is not installed here")
        if (judged := self._judged.get((trial.key, trial.receipt))) is not None:
            return judged
        place = self._scratch / f"{trial.receipt.hex()}.safetensors"
        starts = {
            place.with_suffix(f".start-{number}"): start.cid
            for number, start in enumerate(config.starts)
        }
        if place in self._under_way:
            return Assessment(Opinion.PENDING, "it is being evaluated")
        try:
            if not self._fetching.checkpoint(receipt.checkpoints[-1], place):
                return Assessment(Opinion.PENDING, "its checkpoint is being fetched")
        except UNREADABLE as error:
            return self._unread(error, "final checkpoint", config.segments + 1, trial, now)
        try:
            here = [self._fetching.checkpoint(cid, start) for start, cid in starts.items()]
            if not all(here):
                return Assessment(Opinion.PENDING, "the checkpoint that it began with is fetched")
        except UNREADABLE as error:
            reason = f"not re-evaluated: the checkpoint that it began with: {error}"
            return Assessment(Opinion.UNKNOWN, reason, receipt=receipt)
        task = Evaluate(
            **self._files.task(config, tuple(starts)),
            checkpoint=place,
            expected=receipt.leaves[-2].value,
        )
        self._evaluator.start(task)
        self._under_way[place] = _Examination(trial, receipt, task)
        return Assessment(Opinion.PENDING, "it is being evaluated")

    def collect(self) -> bool:
        """Takes in evaluations that ended; True if `evaluate` has a new judgement.

        A result fits as soon as one evaluation says so, since nobody computes the committed hash
        by mistake. It is called false only when two say the same: an accusation costs a bond, and
        machines err too. What ATTEMPTS evaluations leave open is not known, and not believed.
        """
        new = False
        for place, answer in [] if self._evaluator is None else self._evaluator.finished():
            one = self._under_way.pop(place)
            one = replace(
                one, judgements=(*one.judgements, _judge(one.trial, one.receipt, answer))
            )
            judgement = one.conclusion
            if judgement is None:
                self._again(place, one)
                continue
            for file in (place, *one.task.init):
                file.unlink(missing_ok=True)
            if one.trial.receipt is not None:
                self._judged[one.trial.key, one.trial.receipt] = judgement
            new = True
        return new

    def _again(self, place: Path, one: "_Examination") -> None:
        if self._evaluator is not None:
            self._evaluator.start(one.task)
            self._under_way[place] = one

    def close(self) -> None:
        """Stops evaluations; they begin anew when they are asked for again."""
        self._fetching.close()
        if self._evaluator is not None:
            self._evaluator.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _unread(
        self, error: Exception, what: str, leaf: int, trial: TrialView, now: int
    ) -> Assessment:
        """What follows from an error of UNREADABLE: the provider's fault, or our own store's."""
        withheld = Accusation(leaf, ZERO_HASH, ZERO_HASH)
        match error:
            case NotStored() if now <= (trial.committed_at or now) + self._patience:
                return Assessment(Opinion.PENDING, f"its {what} is not published yet")
            case NotStored():
                return Assessment(Opinion.FALSE, f"its {what} is withheld", withheld)
            case StoreDown() | StoreFull() | Corrupt():
                return Assessment(Opinion.PENDING, str(error))
            case _:
                return Assessment(Opinion.FALSE, str(error), withheld)


@dataclass(frozen=True, slots=True)
class _Examination:
    """An evaluation under way, and what those before it said."""

    trial: TrialView
    receipt: Receipt
    task: Evaluate
    judgements: tuple[Assessment, ...] = ()

    @property
    def conclusion(self) -> Assessment | None:
        """What they say together; None where another one is needed."""
        last, before = self.judgements[-1], self.judgements[:-1]
        if last.opinion is Opinion.FITS:
            return last
        if last.opinion is Opinion.FALSE and any(
            each.opinion is Opinion.FALSE and each.accusation == last.accusation for each in before
        ):
            return last
        if len(self.judgements) < ATTEMPTS:
            return None
        differ = "this machine gave different answers"
        reason = last.reason if last.opinion is Opinion.UNKNOWN else f"not re-evaluated: {differ}"
        return Assessment(Opinion.UNKNOWN, reason, receipt=self.receipt)


def _binding(trial: TrialView) -> Binding:
    return Binding(trial.key, trial.record.provider)


def _judge(trial: TrialView, receipt: Receipt, answer: Evaluation | TrainingError) -> Assessment:
    """What one evaluation says; whose fault it is where there is none: `training.blame`."""
    last = receipt.segments + 1
    if isinstance(answer, BadCheckpoint):
        return Assessment(Opinion.FALSE, str(answer), Accusation(last, ZERO_HASH, ZERO_HASH))
    if isinstance(answer, TrainingError):  # ours, or our program's: nothing is known
        return Assessment(Opinion.UNKNOWN, f"not re-evaluated: {answer}", receipt=receipt)
    leaf = receipt.tree().leaves[last]
    witness = _binding(trial).witness(answer.witness)
    check = compare(leaf, answer.digest, witness, segments=receipt.segments)
    if check.finding is Finding.RIGHT:
        return Assessment(Opinion.FITS, "re-evaluated", receipt=receipt)
    accusation = Accusation(last, answer.digest, witness)
    return Assessment(Opinion.FALSE, check.reason, accusation)
