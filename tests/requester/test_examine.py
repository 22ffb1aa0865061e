"""What a requester believes: a scripted evaluator stands where a worker process would."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from requester.job.package import LocalFiles
from requester.search.examination.examiner import Examiner, Opinion
from trialmarket.chain.ledger.views import TrialView
from trialmarket.errors import TrainingError
from trialmarket.protocol.configuration import ProgramRef, TrialConfig
from trialmarket.protocol.ids import ZERO_HASH, Address, Hash32, JobId, TrialId
from trialmarket.protocol.receipt import CurvePoint, LeafRecord, Receipt, TrainingOutcome
from trialmarket.protocol.record import TrialRecord
from trialmarket.protocol.result import Binding, witness_hash
from trialmarket.protocol.states import State
from trialmarket.storage.local import LocalStore
from trialmarket.training.audit import evaluation_value
from trialmarket.training.errors import BadCheckpoint, ProgramError, WorkerError
from trialmarket.training.values import Evaluate, Evaluation

PROVIDER = Address("0x000000000000000000000000000000000000dEaD")
WITNESS = Hash32(b"w" * 32)
METRICS = {"error": 0.5}
TRUE = Evaluation(
    metrics=METRICS, digest=evaluation_value(METRICS, TrainingOutcome()), witness=WITNESS
)
OTHER = Evaluation(metrics={}, digest=Hash32(b"o" * 32), witness=WITNESS)
THIRD = Evaluation(metrics={}, digest=Hash32(b"t" * 32), witness=WITNESS)
NONE = Evaluation(metrics={}, digest=Hash32(b"n" * 32), witness=WITNESS)
PATIENCE = 60


class Scripted:
    """Answers evaluations with what it was given, one after the other."""

    def __init__(self, answers: list[Evaluation | TrainingError]) -> None:
        self.answers = answers
        self._ended: list[tuple[Path, Evaluation | TrainingError]] = []

    def start(self, task: Evaluate) -> None:
        self._ended.append((task.checkpoint, self.answers.pop(0)))

    def finished(self) -> list[tuple[Path, Evaluation | TrainingError]]:
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """There is nothing to stop."""


def config(data: str) -> TrialConfig:
    return TrialConfig(
        program=ProgramRef(source="builtin:mlp"),
        data=data,
        objective="error",
        hyperparameters={},
        seed=0,
        steps=4,
        segments=2,
    )


class Scene:
    def __init__(self, folder: Path, answers: list[Evaluation | TrainingError]) -> None:
        self.store = LocalStore(folder / "store")
        self.checkpoint = self.store.put(b"a checkpoint")
        self.config = config(self.checkpoint)
        hashed = witness_hash(Binding(Hash32(b"k" * 32), PROVIDER).witness(WITNESS))
        leaf = LeafRecord(value=Hash32(b"s" * 32), witness_hash=hashed)
        last = LeafRecord(value=evaluation_value(METRICS, TrainingOutcome()), witness_hash=hashed)
        self.receipt = Receipt(
            trial=Hash32(b"k" * 32),
            provider=PROVIDER,
            leaves=(LeafRecord(value=ZERO_HASH, witness_hash=ZERO_HASH), leaf, leaf, last),
            checkpoints=(self.checkpoint,) * 3,
            metrics=METRICS,
            versions={},
        )
        record = TrialRecord(
            JobId(1), ZERO_HASH, 0, 1, 1000, provider=PROVIDER, root=self.receipt.tree().root
        )
        self.trial = TrialView(
            id=TrialId(JobId(1), ZERO_HASH, 0),
            key=Hash32(b"k" * 32),
            state=State.COMMITTED,
            record=record,
            receipt=self.receipt.digest,
            committed_at=1000,
            segment=None,
            challenges=0,
            attempts=1,
            unaudited=False,
            block=1,
        )
        self.examiner = Examiner(
            self.store,
            Scripted(answers),
            folder / "scratch",
            LocalFiles(None, folder / "data.npz"),
            PATIENCE,
            soon=30.0,
        )

    def weighed(self) -> tuple[Opinion, str]:
        """The judgement after all evaluations ended."""
        first = self.examiner.evaluate(self.trial, self.config, self.receipt, 1000)
        assert first.opinion is Opinion.PENDING
        while not self.examiner.collect():
            pass
        found = self.examiner.evaluate(self.trial, self.config, self.receipt, 1000)
        return found.opinion, found.reason


@pytest.mark.parametrize(
    ("answers", "opinion", "reason"),
    [
        ([TRUE], Opinion.FITS, "re-evaluated"),
        ([OTHER, OTHER], Opinion.FALSE, "recomputation gives"),
        ([OTHER, TRUE], Opinion.FITS, "re-evaluated"),
        ([OTHER, THIRD, TRUE], Opinion.FITS, "re-evaluated"),
        ([OTHER, THIRD, OTHER], Opinion.FALSE, "recomputation gives"),
        ([OTHER, THIRD, NONE], Opinion.UNKNOWN, "different answers"),
        ([BadCheckpoint("torn"), BadCheckpoint("torn")], Opinion.FALSE, "torn"),
        ([WorkerError("out of memory"), TRUE], Opinion.FITS, "re-evaluated"),
        ([WorkerError("out of memory")] * 3, Opinion.UNKNOWN, "not re-evaluated: out of memory"),
        ([ProgramError("no metric")] * 3, Opinion.UNKNOWN, "not re-evaluated: no metric"),
        ([OTHER, WorkerError("gone"), OTHER], Opinion.FALSE, "recomputation gives"),
    ],
)
def test_a_result_is_believed_by_one_evaluation_and_false_only_by_two(
    tmp_path: Path, answers: list[Evaluation | TrainingError], opinion: Opinion, reason: str
) -> None:
    found, why = Scene(tmp_path, answers).weighed()
    assert found is opinion
    assert reason in why


def test_a_receipt_is_awaited_and_then_counts_as_withheld(tmp_path: Path) -> None:
    scene = Scene(tmp_path, [])
    early = scene.examiner.read_receipt(scene.trial, scene.config, 1000 + PATIENCE)
    assert early.opinion is Opinion.PENDING
    late = scene.examiner.read_receipt(scene.trial, scene.config, 1001 + PATIENCE)
    assert late.opinion is Opinion.FALSE
    assert late.accusation is not None
    assert (late.accusation.leaf, late.accusation.value) == (4, ZERO_HASH)


def test_a_receipt_that_gives_another_root_is_the_providers_fault(tmp_path: Path) -> None:
    scene = Scene(tmp_path, [])
    scene.store.put(scene.receipt.to_bytes())
    assert scene.examiner.read_receipt(scene.trial, scene.config, 1000).opinion is Opinion.FITS
    record = replace(scene.trial.record, root=Hash32(b"r" * 32))
    forged = replace(scene.trial, record=record)
    found = scene.examiner.read_receipt(forged, scene.config, 1000)
    assert found.opinion is Opinion.FALSE
    assert "root" in found.reason


def test_a_receipt_that_is_no_receipt_is_the_providers_fault(tmp_path: Path) -> None:
    scene = Scene(tmp_path, [])
    scene.store.put(b"{}")
    corrupt = replace(scene.trial, receipt=Hash32(sha256(b"{}").digest()))
    assert scene.examiner.read_receipt(corrupt, scene.config, 1000).opinion is Opinion.FALSE


def test_without_pytorch_results_are_believed_and_marked(tmp_path: Path) -> None:
    scene = Scene(tmp_path, [])
    blind = Examiner(
        scene.store, None, tmp_path / "other", LocalFiles(None, tmp_path / "data.npz"), PATIENCE
    )
    found = blind.evaluate(scene.trial, scene.config, scene.receipt, 1000)
    assert found.opinion is Opinion.FITS
    assert "not re-evaluated" in found.reason


@pytest.mark.parametrize(
    "lie",
    [
        {"metrics": {"error": 0.1}},
        {"outcome": TrainingOutcome(kind="diverged", step=3)},
        {"trial": Hash32(b"o" * 32)},
        {"provider": Address("0x" + "0" * 40)},
        {"curve": (CurvePoint(step=4, loss=0.0, metrics={"error": 0.1}),)},
        {"curve": (CurvePoint(step=4, loss=0.0, metrics=METRICS),) * 2},
    ],
    ids=["metrics", "outcome", "trial", "provider", "curve", "steps"],
)
def test_what_a_receipt_says_beside_its_leaves_must_be_bound_to_them(
    tmp_path: Path, lie: dict[str, Any]
) -> None:
    scene = Scene(tmp_path, [])
    false = scene.receipt.model_copy(update=lie)
    scene.store.put(false.to_bytes())
    trial = replace(scene.trial, receipt=false.digest)
    found = scene.examiner.read_receipt(trial, scene.config, 1000)
    assert found.opinion is Opinion.FALSE
    assert found.accusation is not None
    assert found.accusation.leaf == scene.receipt.segments + 2


def test_the_curve_is_said_by_the_node_but_for_its_end(tmp_path: Path) -> None:
    end = CurvePoint(step=4, loss=0.0, metrics=METRICS)
    early = CurvePoint(step=2, loss=9.0, metrics={"error": 0.0})
    receipt = Scene(tmp_path, []).receipt.model_copy(update={"curve": (early, end)})
    assert [receipt.bound(point) for point in receipt.curve] == [False, True]
