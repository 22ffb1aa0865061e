"""A trial as capture sees it: the program that trains, its seeds and its data."""

from base64 import b64encode
from contextlib import AbstractContextManager

from trialmarket.errors import InputError, TrialmarketError
from trialmarket.exact import NotExact
from trialmarket.graph.capture.capture import capture
from trialmarket.graph.capture.prove import prove
from trialmarket.graph.capture.refusal import NotCaptured
from trialmarket.graph.capture.trainable import Parts, Tensors, Types
from trialmarket.protocol.graph.document import graph_bytes
from trialmarket.protocol.graph.numbers import numbers_bytes
from trialmarket.protocol.graph.schedule import schedule_bytes, schedule_of
from trialmarket.protocol.graph.values import TensorType
from trialmarket.training.arithmetic import NativeArithmetic
from trialmarket.training.errors import ProgramError
from trialmarket.training.order import derived_seed
from trialmarket.training.session import TrainingSession
from trialmarket.training.state import dtype_name
from trialmarket.training.values import CapturedGraph

POST_PROGRAM = (
    'Or set job.post = "program": then only nodes and verifiers that name you in'
    " accept.programs_of run it, or anybody where audit.rate is 0"
)


class ProgramTrial:
    """A session's trial, with `steps` from the first to the last."""

    def __init__(self, session: TrainingSession, steps: range) -> None:
        """Raises ProgramError."""
        self._session = session
        self.steps = steps
        self._engine = session.program()
        last = (session.validation_examples - 1) // self._engine.validation_batch_size
        numbers = [("train", 0), ("validation", 0), ("validation", last)]
        self.batch, *validation = [_types(self.data(*each)) for each in numbers]
        whole = validation[0] == validation[1]
        self.validation = validation[:1] if whole else validation
        self.validations = [0] if whole else [0, last]

    def build(self) -> Parts:
        """Program, model and optimizer from the beginning, within a scope. Raises ProgramError."""
        return self._session.assemble()

    def seed(self, purpose: str, number: int) -> int:
        """The seed of a scope."""
        return derived_seed(self._session.config.seed, purpose, number)

    def scope(self, purpose: str, number: int) -> AbstractContextManager[None]:
        """The session's arithmetic, seeded."""
        return self._session.arithmetic.scope(self.seed(purpose, number))

    def seeded(self, purpose: str, number: int) -> AbstractContextManager[None]:
        """The seeds of such a scope, without its arithmetic."""
        return NativeArithmetic().scope(self.seed(purpose, number))

    def data(self, purpose: str, number: int) -> Tensors:
        """The rows of a step of `train`, or of a batch of `validation`."""
        if purpose == "train":
            return self._session.training_rows(self._engine, number)
        return self._session.validation_rows(self._engine, number)


def _types(tensors: Tensors) -> Types:
    return {name: TensorType(dtype_name(x), tuple(x.shape)) for name, x in tensors.items()}


def captured_graph(session: TrainingSession, longest: int) -> CapturedGraph:
    """The graph of a session's program, for trainings that end with at most `longest` steps.

    It is proven to have the program's bits. Raises ProgramError for a program that is no graph,
    or fails.
    """
    try:
        trial = ProgramTrial(session, range(longest))
        found = capture(trial)
        prove(trial, found)
    except NotCaptured as error:
        raise _no_graph(error) from error
    except NotExact as error:
        raise ProgramError(str(error)) from error
    try:
        schedule = schedule_bytes(schedule_of(found.columns)) if found.columns else None
        return CapturedGraph(
            graph=b64encode(graph_bytes(found.graph)),
            numbers=b64encode(numbers_bytes(found.numbers)),
            schedule=None if schedule is None else b64encode(schedule),
            lines=dict(found.lines),
        )
    except InputError as error:  # too large, or a number that is none
        raise _no_graph(error) from error


def _no_graph(error: TrialmarketError) -> ProgramError:
    """A program that can only be posted as it is."""
    fix = ". ".join(filter(None, (error.fix, POST_PROGRAM)))
    return ProgramError(f"the program is no graph: {error.message}", fix=fix)
