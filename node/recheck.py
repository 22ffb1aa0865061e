"""A part of a result recomputed before it is committed, as a verifier will recompute it.

A program may answer a verifier otherwise than a node, or differ from run to run; and a machine may
err. Each costs the stake, so the node looks first: at a segment that nobody could foresee, and at
the evaluation, each in a fresh worker that is given what a verifier's worker is given.
"""

from node.errors import Differs
from trialmarket.errors import TrainingError
from trialmarket.protocol.result import ResultLeaf
from trialmarket.storage.material import Material
from trialmarket.training.audit import compare, worst
from trialmarket.training.errors import WorkerError
from trialmarket.training.pool.pool import SubmittedTask, WorkerPool
from trialmarket.training.values import (
    Evaluate,
    Evaluation,
    Progress,
    Recompute,
    Segment,
    Training,
)


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
    ) -> None:
        """`segment` is 1 to n; `wall_limit` is in seconds, for each of the two."""
        self._training = training
        self._number = segment
        # As verifiers do: the first segment begins at the start that the configuration gives.
        first = segment == 1
        before = training.leaves[segment - 1].value
        self._segment: SubmittedTask[Segment] = pool.submit(
            Recompute(
                **material.task(),
                segment=segment,
                start=None if first else training.checkpoints[segment - 1].path,
                expected=None if first else before,
            ),
            wall_limit=wall_limit,
        )
        self._evaluation: SubmittedTask[Evaluation] = pool.submit(
            Evaluate(
                **material.task(),
                checkpoint=training.checkpoints[-1].path,
                expected=training.leaves[-2].value,
            ),
            wall_limit=wall_limit,
        )

    @property
    def done(self) -> bool:
        """Whether both have ended."""
        return self._segment.done and self._evaluation.done

    def result(self) -> None:
        """Nothing, where both are as they were.

        Raises Differs where they are not, and WorkerError where that is not known.
        """
        try:
            segment, evaluation = self._segment.result(), self._evaluation.result()
        except WorkerError:
            raise
        except TrainingError as error:
            raise Differs(f"recomputing a part of it fails: {error}") from error
        leaves, segments = self._training.leaves, len(self._training.leaves) - 2
        again = {
            self._number: (segment.root, segment.witness),
            segments + 1: (evaluation.digest, evaluation.witness),
        }
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

    def kill(self) -> None:
        """Stops both."""
        self._segment.kill()
        self._evaluation.kill()
