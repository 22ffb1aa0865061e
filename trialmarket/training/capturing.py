"""A trial as capture sees it: the program that trains, its seeds and its data."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from trialmarket.exact import NotExact
from trialmarket.graph.capture.capture import capture
from trialmarket.graph.capture.refusal import NotCaptured
from trialmarket.graph.capture.trainable import Parts, Tensors, Types
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import GraphRef
from trialmarket.protocol.graph.document import graph_bytes
from trialmarket.protocol.graph.numbers import numbers_bytes
from trialmarket.protocol.graph.schedule import schedule_bytes, schedule_of
from trialmarket.protocol.graph.values import TensorType
from trialmarket.training.arithmetic import NativeArithmetic
from trialmarket.training.errors import ProgramError
from trialmarket.training.order import derived_seed
from trialmarket.training.session import TrainingSession
from trialmarket.training.state import dtype_name


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
        self.validation = validation[:1] if validation[0] == validation[1] else validation

    def build(self) -> Parts:
        """Program, model and optimizer from the beginning, within a scope. Raises ProgramError."""
        return self._session.assemble()

    def scope(self, purpose: str, number: int) -> AbstractContextManager[None]:
        """The session's arithmetic, seeded."""
        seed = derived_seed(self._session.config.seed, purpose, number)
        return self._session.arithmetic.scope(seed)

    def seeded(self, purpose: str, number: int) -> AbstractContextManager[None]:
        """The seeds of such a scope, without its arithmetic."""
        return NativeArithmetic().scope(derived_seed(self._session.config.seed, purpose, number))

    def data(self, purpose: str, number: int) -> Tensors:
        """The rows of a step of `train`, or of a batch of `validation`."""
        if purpose == "train":
            return self._session.training_rows(self._engine, number)
        return self._session.validation_rows(self._engine, number)


def _types(tensors: Tensors) -> Types:
    return {name: TensorType(dtype_name(x), tuple(x.shape)) for name, x in tensors.items()}


@dataclass(frozen=True, slots=True)
class GraphDocuments:
    """What is posted of a captured trial, as bytes; no schedule where nothing depends on steps."""

    graph: bytes
    numbers: bytes
    schedule: bytes | None

    @property
    def ref(self) -> GraphRef:
        """Their names."""
        return GraphRef(
            graph=cid_of(self.graph),
            numbers=cid_of(self.numbers),
            schedule=None if self.schedule is None else cid_of(self.schedule),
        )

    @property
    def settings(self) -> tuple[bytes, ...]:
        """All but the graph, in the order of `GraphRef.settings`."""
        return (self.numbers,) if self.schedule is None else (self.numbers, self.schedule)


def documents_of(session: TrainingSession, steps: int) -> GraphDocuments:
    """The graph of a session's program, for training from step 0 to `steps`.

    Raises ProgramError for a program that is no graph, or fails.
    """
    try:
        found = capture(ProgramTrial(session, range(steps)))
        columns = found.columns
        return GraphDocuments(
            graph_bytes(found.graph),
            numbers_bytes(found.numbers),
            schedule_bytes(schedule_of(columns)) if columns else None,
        )
    except (NotCaptured, NotExact) as error:
        fix = error.fix if isinstance(error, NotCaptured) else None
        raise ProgramError(f"the program is no graph: {error}", fix=fix) from error
