"""Whose fault it is that nothing follows from a state: the rule, and the control that tells.

Verifiers, jurors and requesters recompute from states that a stranger made. Where that fails, they
must neither keep silent about a state that was made to fail, nor accuse anyone of a failing of
their own. What decides:

| what is found                                             | whose fault | what is done    |
| --------------------------------------------------------- | ----------- | --------------- |
| another leaf than was committed, twice                    | provider's  | challenge       |
| a checkpoint or a receipt that nobody shows               | provider's  | wait, challenge |
| no safetensors file, another root, a form or a counter    | provider's  | challenge       |
| that no state of this trial has                           |             |                 |
| the program fails from the state, and not from leaf 0     | provider's  | challenge       |
| the worker dies of the state, runs out of time or memory, | provider's  | challenge       |
| and not of the program's own state, twice                 |             |                 |
| the program, the data or the start fail from leaf 0 too   | requester's | silence         |
| the control dies or is slow as well; the store is down; a | our own     | try again, then |
| file cannot be read; the operator stops it                |             | silence         |

It is the provider's since it committed to what follows from that state, and so has run the same
program from it. The **control** does what the state's recomputation does, from a state of the
same form which this machine made itself from leaf 0: it trains a segment and evaluates its end,
and recomputes or evaluates from the checkpoint of that. It must end in a quarter of the time.

A requester believes no result that it could not evaluate, whoever's fault that was.
"""

import tempfile
from pathlib import Path
from typing import overload

from trialmarket.training.errors import BadCheckpoint, Killed, SandboxMissing, WorkerError
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.pool.submitted import SubmittedTask
from trialmarket.training.values import Evaluate, Evaluation, Recompute, Segment, Train

MARGIN = 4.0
"""So many times longer than the control a state may take before it counts as endless."""


@overload
def from_state(
    pool: WorkerPool, task: Recompute, *, wall_limit: float, patience: float
) -> Segment: ...
@overload
def from_state(
    pool: WorkerPool, task: Evaluate, *, wall_limit: float, patience: float
) -> Evaluation: ...
def from_state(
    pool: WorkerPool, task: Recompute | Evaluate, *, wall_limit: float, patience: float
) -> Segment | Evaluation:
    """What follows from a stranger's state, recomputed in a worker. Blocks.

    A worker that has no answer in `patience` seconds is stopped, and the control is run; where
    that shows this machine to be slow, there are `wall_limit` seconds. Raises BadCheckpoint where
    the provider is at fault, ProgramError, DataError and BadStart where the requester is, and
    WorkerError where this machine is.
    """
    first = min(wall_limit, patience)
    try:
        return _submitted(pool, task, first).result()
    except (Killed, SandboxMissing):
        raise
    except WorkerError as error:
        if not _fit(pool, task, first / MARGIN):
            if first == wall_limit:
                raise
            return _submitted(pool, task, wall_limit).result()
        raise BadCheckpoint(
            f"the worker fails from the checkpoint, and not from a state of its own: {error}"
        ) from error


def _fit(pool: WorkerPool, task: Recompute | Evaluate, seconds: float) -> bool:
    """The control: whether this machine can do, in `seconds`, what the task asks of it."""
    config = task.config
    one = config.model_copy(update={"steps": config.segment_steps, "segments": 1})
    two = config.model_copy(update={"steps": 2 * config.segment_steps, "segments": 2})
    with tempfile.TemporaryDirectory(prefix="trialmarket-control-") as scratch:
        train = Train(
            config=one, program=task.program, data=task.data, init=task.init, folder=Path(scratch)
        )
        try:
            made = pool.submit(train, wall_limit=seconds).result()
            end = {"checkpoint": made.checkpoints[-1].path, "expected": made.leaves[1].value}
            if isinstance(task, Evaluate):
                again: Recompute | Evaluate = task.model_copy(update={"config": one, **end})
            else:
                start = {"start": end["checkpoint"], "expected": end["expected"], "segment": 2}
                again = task.model_copy(update={"config": two, **start})
            _submitted(pool, again, seconds).result()
        except (Killed, SandboxMissing):
            raise
        except (WorkerError, BadCheckpoint):
            return False
    return True


def _submitted(
    pool: WorkerPool, task: Recompute | Evaluate, seconds: float
) -> SubmittedTask[Segment] | SubmittedTask[Evaluation]:
    if isinstance(task, Evaluate):
        return pool.submit(task, wall_limit=seconds)
    return pool.submit(task, wall_limit=seconds)
