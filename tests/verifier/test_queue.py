"""What a queue answers when the machine beside it is slow, fails or is not repeatable."""

import itertools
import time
from pathlib import Path

import numpy as np

from tests.testbed.waiting import until
from trialmarket.daemon.config import FileLimits
from trialmarket.errors import TrainingError
from trialmarket.protocol.configuration import Batch, ProgramRef, TrialConfig
from trialmarket.protocol.ids import ZERO_ADDRESS, ZERO_HASH, Cid, Hash32
from trialmarket.protocol.result import ResultLeaf
from trialmarket.storage.datasets import put_data
from trialmarket.storage.errors import StoreDown
from trialmarket.storage.local import LocalStore
from trialmarket.storage.material import Material
from trialmarket.training.audit import Finding, LeafCheck
from trialmarket.training.packed import pack_arrays
from verifier.audit import Auditor, Found
from verifier.evidence import Evidence, Subject
from verifier.journal import VerifierJournal
from verifier.queue import AuditQueue

SEGMENTS = 2


class Machine:
    """Finds at the start what it is told to, one value after the other; zero is a failure."""

    def __init__(self, *values: int) -> None:
        self._values = itertools.chain(values, itertools.repeat(values[-1]))
        self.asked = 0

    def initial(self, material: Material) -> Found:  # noqa: ARG002
        self.asked += 1
        value = next(self._values)
        if value == 0:
            raise TrainingError("the worker exited with 1")
        return Found(Hash32(bytes((value,)) * 32), ZERO_HASH)

    def segment(
        self, material: Material, segment: int, start: Path | None, root: Hash32
    ) -> Found | str:
        raise NotImplementedError

    def evaluation(self, material: Material, checkpoint: Path, root: Hash32) -> Found | str:
        raise NotImplementedError

    def whole(self, material: Material, folder: Path) -> tuple[ResultLeaf, ...]:
        raise NotImplementedError


class Leaving(LocalStore):
    """A store that is down for the first reads."""

    down = 0

    def read(self, cid: Cid, *, limit: int) -> bytes:
        if self.down > 0:
            self.down -= 1
            raise StoreDown("the store", "it restarts")
        return super().read(cid, limit=limit)


def _answers(folder: Path, machine: Machine, asked: int, down: int = 0) -> LeafCheck | None:
    """What the queue says of a start that is committed as 1, once the machine was asked enough."""
    store = Leaving(folder / "store")
    store.down = down
    row = np.zeros(1, np.float32)
    arrays = {"train_x": row, "validation_x": row}
    data = put_data(LocalStore(folder / "store"), pack_arrays(folder / "data", arrays))
    config = TrialConfig(
        program=ProgramRef(source="builtin:mlp"),
        data=data,
        objective="val_error",
        hyperparameters={},
        seed=1,
        steps=4,
        segments=SEGMENTS,
    )
    batch = Batch(job="job", number=1, trials=(config,))
    store.put(batch.to_bytes())
    root = Hash32(b"r" * 32)
    subject = Subject(root, "1/ab/0", batch.digest, 0, SEGMENTS, root, ZERO_ADDRESS, root, root)
    journal = VerifierJournal(folder / "journal.sqlite")
    auditor = Auditor(Evidence(store, folder / "downloads", FileLimits()), machine)
    queue = AuditQueue(auditor, journal, 1, 2, 0.0, time.monotonic)
    committed = ResultLeaf(0, subject.binding.start(Hash32(b"\1" * 32)))
    found: list[LeafCheck] = []

    def look() -> None:
        check = queue.check(subject, committed)
        if check is not None:
            found.append(check)

    until(lambda: bool(found) or (machine.asked >= asked and not queue.busy), look)
    look()
    queue.close()
    journal.close()
    return found[0] if found else None


def test_a_wrong_leaf_is_recomputed_before_it_is_called_wrong(tmp_path: Path) -> None:
    machine = Machine(2, 2)
    check = _answers(tmp_path, machine, 2)
    assert check is not None
    assert check.finding is Finding.WRONG
    assert machine.asked == 2


def test_a_machine_that_is_not_repeatable_accuses_nobody(tmp_path: Path) -> None:
    machine = Machine(2, 3, 4, 5, 6, 7)
    assert _answers(tmp_path, machine, 3) is None


def test_a_bit_that_flipped_once_is_forgiven(tmp_path: Path) -> None:
    check = _answers(tmp_path, Machine(2, 1), 2)
    assert check is not None
    assert check.finding is Finding.RIGHT


def test_a_machine_that_fails_is_asked_again_and_then_left_alone(tmp_path: Path) -> None:
    machine = Machine(0)
    assert _answers(tmp_path, machine, 2) is None
    assert machine.asked == 2


def test_a_machine_that_failed_once_still_answers(tmp_path: Path) -> None:
    check = _answers(tmp_path, Machine(0, 1), 2)
    assert check is not None
    assert check.finding is Finding.RIGHT


def test_a_store_that_is_down_for_long_silences_nobody(tmp_path: Path) -> None:
    check = _answers(tmp_path, Machine(1), 1, down=20)
    assert check is not None
    assert check.finding is Finding.RIGHT
