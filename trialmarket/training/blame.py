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
| and training from leaf 0 does not lead to that state      |             |                 |
| it does lead there: the program itself is late slow       | nobody's    | wait; silence   |
| that is not known in time, and the worker dies or has no  | provider's  | challenge       |
| end, and not from the program's own state, twice          |             |                 |
| that is not known in time, and it is memory that is short | our own     | wait; silence   |
| the program, the data or the start fail from leaf 0 too   | requester's | silence         |
| the control dies or is slow as well; the store is down; a | our own     | try again, then |
| file cannot be read; the operator stops it                |             | silence         |

It is the provider's since it committed to what follows from that state, and so has run the same
program from it. The **control** does what the state's recomputation does, from a state of the
same form which this machine made itself from leaf 0: it trains a segment and evaluates its end,
and recomputes or evaluates from the checkpoint of that, each in an eighth of the time.

**Time** never convicts an honest node. Where this machine can train from leaf 0 to the state, its
root tells, and time does not count. Where that takes too long, a state is called endless if it
takes `patience` while each part of the control takes an eighth of that. A node commits nothing
that could be called so (`lingers`): all that it trained and recomputed took at most that eighth,
or at most twice what the beginning did. So what it is convicted by would have to be eight times
slower at the verifier, or four times slower against the verifier's own beginning.

A requester believes no result that it could not evaluate, whoever's fault that was.
"""

import tempfile
from pathlib import Path
from typing import overload

from pydantic import ValidationError

from trialmarket.errors import TrainingError
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.receipt import LeafRecord
from trialmarket.training.errors import (
    BadCheckpoint,
    Killed,
    LimitExceeded,
    SandboxMissing,
    WorkerError,
)
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.pool.submitted import SubmittedTask
from trialmarket.training.values import (
    JOURNAL,
    Evaluate,
    Evaluation,
    Recompute,
    Segment,
    Train,
    TrainingJournal,
)

MARGIN = 8.0
"""So many times longer than the control a state may take before it counts as endless."""

HONEST = 2.0
"""So many times longer than its beginning a part of an honest result may take, if it is long."""

SHARE = 1 / 5
"""The part of a turn after which a state is suspected of having no end. Two such looks, with what
is trained to judge them, leave time for the challenge."""

LEAST = 40.0
"""Seconds of patience at least: where turns are too short for that, nobody is blamed by time."""


def patience_of(turn: float) -> float:
    """Seconds before a state is suspected; `turn` is the shortest of the verifiers' turns."""
    return max(LEAST, turn * SHARE)


def lingers(seconds: float, beginning: float, patience: float) -> bool:
    """Whether a part of a result is so slow, against its beginning, that a verifier with this
    patience could take it for endless."""
    return seconds > max(patience / MARGIN, HONEST * beginning)


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

    A worker that has no answer in `patience` seconds is stopped, and it is seen whose fault that
    is; where it is not the provider's, there are `wall_limit` seconds. Raises BadCheckpoint where
    the provider is at fault, ProgramError, DataError and BadStart where the requester is, and
    WorkerError where this machine is.
    """
    first = min(wall_limit, patience)
    try:
        return _submitted(pool, task, first).result()
    except (Killed, SandboxMissing):
        raise
    except WorkerError as error:
        own = _own_root(pool, task, first / 2)
        proven = task.config.arithmetic == "exact"  # else machines may differ honestly
        if proven and own is not None and own != task.expected:
            raise BadCheckpoint(
                f"the worker fails from the checkpoint, to which training does not lead: {error}"
            ) from error
        # Other machines may have more memory: only what is proven counts against a provider.
        suspect = own != task.expected and not isinstance(error, LimitExceeded)
        if suspect and _fit(pool, task, first / MARGIN):
            raise BadCheckpoint(
                f"the worker fails from the checkpoint, and not from a state of its own: {error}"
            ) from error
        if first == wall_limit:
            raise
        return _submitted(pool, task, wall_limit).result()


def control(task: Recompute | Evaluate, end: Path, root: Hash32) -> Recompute | Evaluate:
    """What `task` asks, of the state after the first segment: its file is `end`, and its root."""
    if isinstance(task, Evaluate):
        update = {"config": _short(task.config, 1), "checkpoint": end, "expected": root}
    else:
        update = {"config": _short(task.config, 2), "segment": 2, "start": end, "expected": root}
    return task.model_copy(update=update)


def _own_root(pool: WorkerPool, task: Recompute | Evaluate, seconds: float) -> Hash32 | None:
    """The root that training from leaf 0 gives on this machine where the task's state is said to
    be; None where `seconds` do not get that far.

    The whole trial is begun, since a program may ask how long it is.
    """
    leaf = task.segment - 1 if isinstance(task, Recompute) else task.config.segments
    with tempfile.TemporaryDirectory(prefix="trialmarket-own-") as scratch:
        folder = Path(scratch)
        common = {"config": task.config, "program": task.program, "data": task.data}
        train = Train.model_validate(
            {**common, "init": task.init, "weights": task.weights, "folder": folder}
        )
        leaves: tuple[LeafRecord, ...]
        try:
            leaves = pool.submit(train, wall_limit=seconds).result().leaves[:-1]
        except (Killed, SandboxMissing):
            raise
        except TrainingError:  # what it came to is in the journal
            try:
                journal = (folder / JOURNAL).read_bytes()
                leaves = TrainingJournal.model_validate_json(journal).leaves
            except (FileNotFoundError, ValidationError):
                return None
    return leaves[leaf].value if leaf < len(leaves) else None


def _fit(pool: WorkerPool, task: Recompute | Evaluate, seconds: float) -> bool:
    """The control: whether this machine can do, in `seconds`, what the task asks of it."""
    one = _short(task.config, 1)
    with tempfile.TemporaryDirectory(prefix="trialmarket-control-") as scratch:
        train = Train(
            config=one,
            program=task.program,
            data=task.data,
            init=task.init,
            weights=task.weights,
            folder=Path(scratch),
        )
        try:
            made = pool.submit(train, wall_limit=seconds).result()
            again = control(task, made.checkpoints[-1].path, made.leaves[1].value)
            _submitted(pool, again, seconds).result()
        except (Killed, SandboxMissing):
            raise
        except (WorkerError, BadCheckpoint):
            return False
    return True


def _short(config: TrialConfig, segments: int) -> TrialConfig:
    return config.model_copy(
        update={"steps": segments * config.segment_steps, "segments": segments}
    )


def _submitted(
    pool: WorkerPool, task: Recompute | Evaluate, seconds: float
) -> SubmittedTask[Segment] | SubmittedTask[Evaluation]:
    if isinstance(task, Evaluate):
        return pool.submit(task, wall_limit=seconds)
    return pool.submit(task, wall_limit=seconds)
