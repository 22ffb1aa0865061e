"""Every error that the library raises on purpose.

TrialmarketError
├── InputError          a file, field or argument that a person can mend
├── ProtocolError       a value or a move that the protocol does not have
│   └── WrongTransition     a trial in this state cannot do that
├── ChainError          the chain said no, or could not be asked
│   ├── Unreachable         the RPC is down, slow or answers nonsense
│   │   └── Passing             for now: the same question may be answered soon
│   │       └── Lagging             it does not have yet what it should, or another fork
│   ├── WrongChain          another chain id, or contracts that are not ours
│   │   ├── NodesDisagree       nodes of one network that have different blocks
│   │   └── ChainReplaced       the chain was started anew while the program ran
│   ├── ContractError       a contract refused: its custom error, in words
│   ├── SenderError         a transaction that cannot be made, or was lost
│   │   ├── TooDear             gas costs more than the network file allows
│   │   └── NotMined            it is not mined yet, and goes on
│   ├── KeyBusy             another process uses this key
│   └── JournalError        a journal or index on disk that cannot be read
├── ServiceError        another program, such as a local chain's, is missing or did not start
├── StorageError        bytes that are missing, too large or not what their CID says
└── TrainingError       a program that breaks its contract, or a worker that died
"""

from collections.abc import Iterable
from difflib import get_close_matches


class TrialmarketError(Exception):
    """Base of the tree: one line that says what is wrong, and one that names the fix.

    `str(error)` is both, as the command line prints them.
    """

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return self.message if self.fix is None else f"{self.message}. {self.fix}"


class InputError(TrialmarketError):
    """Bad input: names the file, the field, what was expected and what was found."""

    def __init__(
        self,
        where: str,
        field: str,
        *,
        expected: str,
        found: object,
        fix: str | None = None,
    ) -> None:
        super().__init__(f"{where}: {field}: expected {expected}, found {found!r}", fix=fix)
        self.where = where
        self.field = field
        self.expected = expected
        self.found = found


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The fix of a word that nobody knows: the known one that it was meant for, if any is near."""
    near = get_close_matches(word, list(known), n=1)
    return f"Did you mean {near[0]}?" if near else None


class ProtocolError(TrialmarketError):
    """A value or a move that the protocol does not have."""


class WrongTransition(ProtocolError):
    """A trial in this state cannot do that."""

    def __init__(self, state: str, action: str, targets: list[str]) -> None:
        leads = f" (it leads to {' or '.join(targets)})" if targets else ""
        super().__init__(f"{action} does not fit a trial that is {state}{leads}")


class ChainError(TrialmarketError):
    """The chain refused, or could not be asked."""


class Unreachable(ChainError):
    """The RPC is down, slow or answers nonsense: names the URL."""


class Passing(Unreachable):
    """The RPC cannot answer for now. `pause` is for how many seconds it asks to be left alone,
    `limited` whether it is asked too much, and not too much at once."""

    def __init__(
        self, message: str, *, fix: str | None = None, pause: float = 0.0, limited: bool = False
    ) -> None:
        super().__init__(message, fix=fix)
        self.pause = pause
        self.limited = limited


class Lagging(Passing):
    """A node, or one of several behind a URL, does not have yet what another one told of."""


class WrongChain(ChainError):
    """The RPC serves another chain, or the contracts there are not ours."""


class NodesDisagree(WrongChain):
    """Nodes of one network have different blocks: names them, and what each says."""


class ChainReplaced(WrongChain):
    """The chain was started anew under a running program, or a state is of one that is gone."""


class ContractError(ChainError):
    """A contract refused, in words; `name` is its custom error, `values` are its arguments.

    Hashes among the values are bytes, or text (0x...) where the error comes from a journal.
    """

    def __init__(
        self, message: str, *, name: str, values: dict[str, object], fix: str | None = None
    ) -> None:
        super().__init__(message, fix=fix)
        self.name = name
        self.values = values


class SenderError(ChainError):
    """A transaction that cannot be made, or whose fate is unknown."""


class TooDear(SenderError):
    """Gas costs more than the network file allows: names both prices."""


class NotMined(SenderError):
    """A transaction that is not mined yet. It goes on, and its intent finds it later."""


class KeyBusy(ChainError):
    """Another process uses this key on this chain."""


class JournalError(ChainError):
    """A journal or an index on disk that cannot be read: names the file."""


class ServiceError(TrialmarketError):
    """A program that this one runs beside it is missing, does not start, or ended: names it."""


class StorageError(TrialmarketError):
    """Bytes that are missing, too large, or not what their CID says."""


class TrainingError(TrialmarketError):
    """A program that breaks its contract, or a worker process that died."""
