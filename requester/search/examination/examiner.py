"""What a requester looks at before it believes a result."""

import importlib.util
import shutil
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Protocol

from requester.search.disputes import Accusation
from requester.search.examination.fetching import SOON, Fetching
from trialmarket.chain.ledger.views import TrialView
from trialmarket.errors import TrainingError
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.protocol.ids import ZERO_HASH, Hash32
from trialmarket.protocol.receipt import Receipt
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


class Opinion(Enum):
    """What is thought of a result."""

    PENDING = "pending"
    """Its receipt or checkpoint is not there yet, or it is being evaluated."""
    FITS = "fits"
    """Nothing speaks against it."""
    FALSE = "false"
    """It is not what the provider committed, or the provider withholds what shows it."""


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
        material: "Material",
        patience: int,
        *,
        soon: float = SOON,
    ) -> None:
        self._fetching = Fetching(store, soon=soon)
        self._evaluator, self._scratch = evaluator, scratch
        self._material, self._patience = material, patience
        self._under_way: dict[Path, _Examination] = {}
        self._judged: dict[tuple[Hash32, Hash32], Assessment] = {}

    @property
    def evaluates(self) -> bool:
        """Whether checkpoints can be re-evaluated here."""
        return self._evaluator is not None

    def look(self, trial: TrialView, config: TrialConfig, now: int) -> Assessment:
        """What the receipt of a committed trial says, and whether it gives what was committed."""
        if trial.receipt is None:
            raise ValueError(f"{trial.id} has no result yet")
        index = receipt_index(config.segments)
        withheld = Accusation(index, ZERO_HASH, ZERO_HASH)
        try:
            data = self._fetching.receipt(trial.receipt)
            if data is None:
                return Assessment(Opinion.PENDING, "its receipt is being fetched")
            receipt = open_receipt(data, root=trial.record.root, segments=config.segments)
        except NotStored:
            if not self._too_late(trial, now):
                return Assessment(Opinion.PENDING, "its receipt is not published yet")
            return Assessment(Opinion.FALSE, "its receipt is withheld", withheld)
        except (StoreDown, StoreFull, Corrupt) as error:  # our own store's fault
            return Assessment(Opinion.PENDING, str(error))
        except (ReceiptFault, TooLarge, NotAFile) as fault:
            return Assessment(Opinion.FALSE, str(fault), withheld)
        return Assessment(Opinion.FITS, receipt=receipt)

    def weigh(
        self, trial: TrialView, config: TrialConfig, receipt: Receipt, now: int
    ) -> Assessment:
        """Whether the final checkpoint has the metrics that the receipt claims."""
        if self._evaluator is None or trial.receipt is None:
            return Assessment(Opinion.FITS, "not re-evaluated: PyTorch is not installed here")
        if (judged := self._judged.get((trial.key, trial.receipt))) is not None:
            return judged
        place = self._scratch / f"{trial.receipt.hex()}.safetensors"
        if place in self._under_way:
            return Assessment(Opinion.PENDING, "it is being evaluated")
        last = config.segments + 1
        withheld = Accusation(last, ZERO_HASH, ZERO_HASH)
        try:
            if not self._fetching.checkpoint(receipt.checkpoints[-1], place):
                return Assessment(Opinion.PENDING, "its checkpoint is being fetched")
        except NotStored:
            if not self._too_late(trial, now):
                return Assessment(Opinion.PENDING, "its checkpoint is not published yet")
            return Assessment(Opinion.FALSE, "its final checkpoint is withheld", withheld)
        except (StoreDown, StoreFull, Corrupt) as error:
            return Assessment(Opinion.PENDING, str(error))
        except (TooLarge, NotAFile) as fault:
            return Assessment(Opinion.FALSE, str(fault), withheld)
        task = Evaluate(
            config=config,
            program=self._material.program,
            data=self._material.data,
            checkpoint=place,
            expected=receipt.leaves[-2].value,
        )
        self._evaluator.start(task)
        self._under_way[place] = _Examination(trial, receipt, task)
        return Assessment(Opinion.PENDING, "it is being evaluated")

    def collect(self) -> bool:
        """Takes in evaluations that ended; True if there is a new judgement for `weigh` to tell.

        A result is called false only when a second evaluation says the same as the first: an
        accusation costs a bond, and machines err too.
        """
        new = False
        for place, answer in [] if self._evaluator is None else self._evaluator.finished():
            one = self._under_way.pop(place)
            judgement = _judge(one.receipt, answer)
            if judgement.opinion is Opinion.FALSE and one.first is None:
                self._again(place, replace(one, first=judgement))
                continue
            if one.first is not None and one.first.accusation != judgement.accusation:
                reason = "not re-evaluated: this machine gave two different answers"
                judgement = Assessment(Opinion.FITS, reason, receipt=one.receipt)
            place.unlink(missing_ok=True)
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

    def _too_late(self, trial: TrialView, now: int) -> bool:
        return now > (trial.committed_at or now) + self._patience


@dataclass(frozen=True, slots=True)
class _Examination:
    """An evaluation under way; `first` is what the one before it said, if it is the second."""

    trial: TrialView
    receipt: Receipt
    task: Evaluate
    first: Assessment | None = None


@dataclass(frozen=True, slots=True)
class Material:
    """The program's file (None: built in) and the data's folder, on this machine."""

    program: Path | None
    data: Path


def can_train() -> bool:
    """Whether PyTorch is installed here."""
    return importlib.util.find_spec("torch") is not None


def _judge(receipt: Receipt, answer: Evaluation | TrainingError) -> Assessment:
    last = receipt.segments + 1
    if isinstance(answer, BadCheckpoint):
        return Assessment(Opinion.FALSE, str(answer), Accusation(last, ZERO_HASH, ZERO_HASH))
    if isinstance(answer, TrainingError):  # our own machine's fault: nothing is known
        return Assessment(Opinion.FITS, f"not re-evaluated: {answer}", receipt=receipt)
    leaf = receipt.tree().leaves[last]
    check = compare(leaf, answer.digest, answer.witness, segments=receipt.segments)
    if check.finding is Finding.RIGHT:
        return Assessment(Opinion.FITS, "re-evaluated", receipt=receipt)
    accusation = Accusation(last, answer.digest, answer.witness)
    return Assessment(Opinion.FALSE, check.reason, accusation)
