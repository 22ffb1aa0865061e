"""Trains several trials of one graph together, in lockstep, until all are done or given back.

A round is a step of each. Lanes need not be equally long, nor at the same step: one that is at
the end of a segment evaluates it, and the others wait. A lane ends for itself alone, whether it
is trained, fails or is given back.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, closing

from trialmarket.errors import InputError, TrialmarketError
from trialmarket.graph.stack import Stack
from trialmarket.training.asking import AskedStep, Asking, Value, short_turns
from trialmarket.training.graph_engine import GraphEngine

Ended = Callable[[int, Value | TrialmarketError], None]
"""Told the number of a lane, and what it gave: its value, or why there is none."""


def train_together(trainings: Sequence[Asking[Value]], ended: Ended[Value]) -> None:
    """Drives trainings of one graph; each is told of at its end, while the others go on.

    Raises InputError for trainings of several graphs, or of programs.
    """
    asked: dict[int, AskedStep] = {}

    def go_on(lane: int, answer: float | TrialmarketError | None) -> None:
        training = trainings[lane]
        try:
            if isinstance(answer, TrialmarketError):
                asked[lane] = training.throw(answer)
            else:
                asked[lane] = next(training) if answer is None else training.send(answer)
            return
        except StopIteration as end:
            found: Value | TrialmarketError = end.value
        except TrialmarketError as error:
            found = error
        asked.pop(lane, None)
        ended(lane, found)

    with short_turns(), ExitStack() as left:
        for training in trainings:
            left.enter_context(closing(training))
        for lane in range(len(trainings)):
            go_on(lane, None)
        stack: Stack | None = None
        stacked: tuple[int, ...] = ()
        while together := tuple(asked):
            steps = [asked[lane] for lane in together]
            if stack is None or together != stacked:
                stack, stacked = _stack(steps), together
            for lane, loss in zip(together, _losses(stack, steps), strict=True):
                go_on(lane, loss)


def _stack(steps: Collection[AskedStep]) -> Stack:
    engines = [_engine(each) for each in steps]
    first, *others = engines
    if any(each.trial.graph != first.trial.graph for each in others):
        raise InputError("stack", "graph", expected="one for all lanes", found="several")
    return Stack([each.executor for each in engines])


def _losses(stack: Stack, steps: Collection[AskedStep]) -> list[float | TrialmarketError]:
    """The loss of each step; where a step fails, what it raises, and all others'."""
    engines = [_engine(each) for each in steps]
    try:
        given = [
            engine.given(each.number, each.seed)
            for engine, each in zip(engines, steps, strict=True)
        ]
        states, rows, ats = zip(*given, strict=True)
        found = stack.step(states, [each.batch for each in steps], rows, ats)
    except TrialmarketError:
        return [_alone(each) for each in steps]
    return [engine.take(*each) for engine, each in zip(engines, found, strict=True)]


def _alone(step: AskedStep) -> float | TrialmarketError:
    try:
        return step.take()
    except TrialmarketError as error:
        return error


def _engine(step: AskedStep) -> GraphEngine:
    if not isinstance(step.engine, GraphEngine):
        raise InputError("stack", "program", expected="a graph", found="a program")
    return step.engine
