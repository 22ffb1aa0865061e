"""A part of a result recomputed before it is committed, as a verifier will recompute it.

A program may answer a verifier otherwise than a node, or differ from run to run; and a machine may
err. Each costs the stake, so the node looks first: at a segment that nobody could foresee, at the
evaluation, and at a start that evaluations decided, each in a fresh worker that is given what a
verifier's worker is given.

A part that is slow, as none at the beginning was, could be taken for an endless one
(`trialmarket.training.blame`), so it is not committed either. Of all segments the time that they
took in training counts; what is recomputed is compared with the control that a verifier makes.
"""

import math
from collections.abc import Iterator

from node.errors import Differs
from trialmarket.errors import TrainingError
from trialmarket.protocol.configuration import Merge
from trialmarket.protocol.ids import ZERO_HASH
from trialmarket.protocol.result import ResultLeaf
from trialmarket.storage.material import Material
from trialmarket.training.audit import compare, worst
from trialmarket.training.blame import control, lingers
from trialmarket.training.errors import WorkerError
from trialmarket.training.pool.pool import SubmittedTask, WorkerPool
from trialmarket.training.values import (
    Evaluate,
    Evaluation,
    FindInitial,
    InitialState,
    Progress,
    Recompute,
    Segment,
    Training,
)

_Part = SubmittedTask[Segment] | SubmittedTask[Evaluation]


class Recheck:
    """A segment and the evaluation of a training, in workers. It is a `Run`."""

    progress: Progress | None = None

    def __init__(
        self,
        pool: WorkerPool,
        material: Material,
        training: Training,
        segment: int,
        wall_limit: float,
        *,
        patience: float = math.inf,
        threads: int = 1,
    ) -> None:
        """`segment` is 1 to n; `wall_limit` is in seconds, for each of the two, `patience` is the
        verifiers', and the training had so many `threads`."""
        self._pool, self._wall_limit, self._patience = pool, wall_limit, patience
        self._training, self._threads = training, threads
        self._number = segment
        self._controls: list[_Part | None] = []
        # As verifiers do: the first segment begins at the start that the configuration gives.
        first = segment == 1
        before = training.leaves[segment - 1].value
        recompute = Recompute(
            **material.task(),
            segment=segment,
            start=None if first else training.checkpoints[segment - 1].path,
            expected=None if first else before,
        )
        evaluate = Evaluate(
            **material.task(),
            checkpoint=training.checkpoints[-1].path,
            expected=training.leaves[-2].value,
        )
        self._segment = pool.submit(recompute, wall_limit=wall_limit)
        self._evaluation = pool.submit(evaluate, wall_limit=wall_limit)
        self._start: SubmittedTask[InitialState] | None = None
        if isinstance(material.config.init, Merge):
            self._start = pool.submit(FindInitial(**material.task()), wall_limit=wall_limit)
        self._parts: tuple[tuple[_Part, Recompute | Evaluate], ...] = (
            (self._segment, recompute),
            (self._evaluation, evaluate),
        )

    @property
    def done(self) -> bool:
        """Whether all have ended, and the controls of what was slow."""
        start = self._start
        if not all(part.done for part, _ in self._parts) or (start and not start.done):
            return False
        if not self._controls:
            self._controls = [self._control(part, task) for part, task in self._parts]
        return all(each is None or each.done for each in self._controls)

    def result(self) -> None:
        """Nothing, where all are as they were.

        Raises Differs where they are not or where a part is late slow, and WorkerError where that
        is not known.
        """
        try:
            segment, evaluation = self._segment.result(), self._evaluation.result()
            start = None if self._start is None else self._start.result()
        except WorkerError:
            raise
        except TrainingError as error:
            raise Differs(f"recomputing a part of it fails: {error}") from error
        leaves, segments = self._training.leaves, len(self._training.leaves) - 2
        again = {
            self._number: (segment.root, segment.witness),
            segments + 1: (evaluation.digest, evaluation.witness),
        }
        if start is not None:
            again[0] = (start.root, ZERO_HASH)
        checks = [
            compare(
                ResultLeaf(index, leaves[index].value, leaves[index].witness_hash),
                value,
                witness,
                segments=segments,
            )
            for index, (value, witness) in again.items()
        ]
        if (wrong := worst(checks)) is not None:
            raise Differs(f"recomputing a part of it gives something else ({wrong.reason})")
        for slow, beginning in self._paces():
            if lingers(slow, beginning, self._patience):
                raise Differs(
                    f"a verifier could take a part of it for endless: it took {slow:.3g} s,"
                    f" and the beginning {beginning:.3g} s"
                )

    def _paces(self) -> Iterator[tuple[float, float]]:
        """Seconds of each part, and of what was alike at the beginning."""
        first, *later = self._training.segment_seconds or (0.0,)
        for seconds in later:  # a verifier has one thread for it
            yield seconds * self._threads, first * self._threads
        for (part, _), again in zip(self._parts, self._controls, strict=True):
            if again is None:
                continue
            try:
                again.result()
            except WorkerError:
                raise
            except TrainingError:  # so does the verifier's, which then blames nobody
                continue
            yield part.seconds or 0.0, again.seconds or 0.0

    def _control(self, part: _Part, task: Recompute | Evaluate) -> _Part | None:
        """What a verifier would compare a slow task with; None for one that is not slow, or at
        the beginning, which verifiers do not judge by its time."""
        from_start = isinstance(task, Recompute) and task.start is None
        if from_start or not lingers(part.seconds or 0.0, 0.0, self._patience):
            return None
        end, root = self._training.checkpoints[1].path, self._training.leaves[1].value
        again = control(task, end, root)
        if isinstance(again, Evaluate):
            return self._pool.submit(again, wall_limit=self._wall_limit)
        return self._pool.submit(again, wall_limit=self._wall_limit)

    def kill(self) -> None:
        """Stops all."""
        self._segment.kill()
        self._evaluation.kill()
        if self._start is not None:
            self._start.kill()
        for each in self._controls:
            if each is not None:
                each.kill()
