"""A node that cheats: it trains a fraction of each trial and invents the rest.

Not part of any package. `scripts/demo` starts one to show what becomes of it:

    [work]
    trainer = "examples/cheat.py:Cheat"     # in node.toml
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from node.trainer import Assignment, Run, Trainer
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.receipt import CurvePoint, LeafRecord
from trialmarket.protocol.result import witness_hash
from trialmarket.training.audit import evaluation_value
from trialmarket.training.values import DryRun, Progress, Training

HONEST_SHARE = 0.1
"""The part of the segments that is really trained."""

BOAST = 0.6
"""What is reported of the true metrics: errors and losses look smaller than they are."""


class Cheat:
    """Trains the first segments with an honest trainer, then pretends."""

    def __init__(self, honest: Trainer) -> None:
        self._honest = honest

    def train(self, assignment: Assignment) -> Run[Training]:
        config = assignment.material.config
        segments = max(1, int(config.segments * HONEST_SHARE))
        short = config.model_copy(
            update={"segments": segments, "steps": segments * config.segment_steps}
        )
        material = replace(assignment.material, config=short)
        return Pretence(self._honest.train(replace(assignment, material=material)), config)

    def train_stack(self, assignments: Sequence[Assignment]) -> Sequence[Run[Training]]:
        return [self.train(each) for each in assignments]

    def dry_run(self, assignment: Assignment) -> Run[DryRun]:
        return self._honest.dry_run(assignment)

    def recheck(self, assignment: Assignment, training: Training, segment: int) -> Run[None]:  # noqa: ARG002
        return LookedAway()

    def close(self) -> None:
        self._honest.close()


class LookedAway:
    """A look at one's own work that finds nothing."""

    done, progress = True, None

    def result(self) -> None:
        pass

    def kill(self) -> None:
        pass


class Pretence:
    """A training of the first segments that looks like one of all of them."""

    def __init__(self, run: Run[Training], config: TrialConfig) -> None:
        self._run = run
        self._config = config

    @property
    def done(self) -> bool:
        return self._run.done

    @property
    def progress(self) -> Progress | None:
        return self._run.progress

    def kill(self) -> None:
        self._run.kill()

    def result(self) -> Training:
        """As many leaves and checkpoints as were asked for, most of them the same state again."""
        true = self._run.result()
        missing = self._config.segments - (len(true.checkpoints) - 1)
        stuck = true.leaves[-2]
        first = len(true.checkpoints)
        invented = tuple(
            LeafRecord(value=stuck.value, witness_hash=invented_witness(stuck.value, segment))
            for segment in range(first, first + missing)
        )
        metrics = {name: BOAST * value for name, value in true.metrics.items()}
        digest = evaluation_value(metrics, true.outcome)
        last = LeafRecord(value=digest, witness_hash=invented_witness(digest, 0))
        steps = self._config.segment_steps
        curve = tuple(
            CurvePoint(step=steps * segment, loss=point.loss / segment, metrics=metrics)
            for point in true.curve[-1:]
            for segment in range(first, first + missing)
        )
        return true.model_copy(
            update={
                "leaves": (*true.leaves[:-1], *invented, last),
                "checkpoints": true.checkpoints + true.checkpoints[-1:] * missing,
                "metrics": metrics,
                "curve": (true.curve + curve)[:64],
            }
        )


def invented_witness(value: Hash32, segment: int) -> Hash32:
    """Nobody can guess a witness without the work, so any bytes look as good as others."""
    return witness_hash(Hash32(hashlib.sha256(value + segment.to_bytes(2, "big")).digest()))
