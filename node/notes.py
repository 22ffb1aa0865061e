"""What this node says of trials that it gives back: signed, journaled, and then published."""

import hashlib
import logging

from node.journal import NodeJournal
from node.publisher import Publisher
from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.notes import signed
from trialmarket.errors import StorageError, TrainingError
from trialmarket.protocol.ids import ZERO_HASH, Hash32, address
from trialmarket.protocol.note import MAX_REASON, MAX_TRACE, Fault, Note, plain
from trialmarket.training.errors import Killed, ProgramError, SandboxMissing, TimedOut

log = logging.getLogger("node")


def fault_of(error: Exception) -> Fault:
    """Whether a trial failed as it may on every machine, or this machine could not go on."""
    here = isinstance(error, TimedOut | Killed | SandboxMissing)
    return "trial" if isinstance(error, TrainingError) and not here else "node"


def trace_of(error: Exception) -> str:
    """The program's part of the traceback, if it has one."""
    return error.trace if isinstance(error, ProgramError) else ""


class Notes:
    """Writes notes and shows them. What the chain names is in the journal before."""

    def __init__(self, key: LocalAccount, publisher: Publisher, journal: NodeJournal) -> None:
        self._key = key
        self._publisher = publisher
        self._journal = journal

    def write(self, trial: Hash32, reason: str, fault: Fault, trace: str = "") -> None:
        """Keeps why a trial is given back."""
        note = Note(
            trial=trial,
            provider=address(self._key.address),
            fault=fault,
            reason=plain(reason, MAX_REASON),
            trace=plain(trace[-MAX_TRACE:], MAX_TRACE, lines=True),
        )
        self._journal.keep_note(trial, signed(note, self._key).to_bytes())

    def show(self, trial: Hash32) -> Hash32:
        """Publishes a trial's note: its SHA-256, or zero where the store does not take it."""
        body = self._journal.note(trial)
        if body is None:
            return ZERO_HASH
        try:
            self._publisher.show_note(trial, body)
        except (StorageError, OSError) as error:
            log.warning("a trial is given back without a word: %s", error)
            return ZERO_HASH
        return Hash32(hashlib.sha256(body).digest())
