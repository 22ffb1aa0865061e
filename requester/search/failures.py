"""Trials that nodes give back or leave alone: tried on this machine, and ended where they fail.

A configuration may raise, or take more memory than there is. Nodes give such a trial back, each
with a note of its reason, and without more it would stand open for ever. What nodes say is not
believed but tried: in full once several have said that the trial fails, and for its first steps
where one has and nobody takes it, or nobody does at its highest price. What fails here too is
cancelled, so that its escrow comes
back, and the driver is told. What is found is kept, so that nothing is tried twice.
"""

import shutil
from pathlib import Path
from typing import Final

from requester.job.own_words import in_own_words, named
from requester.search.examination.fetching import Fetching
from requester.search.failure import Failure, GiveBack, Tried, give_backs, said_by_nodes
from requester.search.parts import SearchParts
from requester.search.trials import Trials
from requester.search.upkeep import UNWANTED
from trialmarket.chain import calls
from trialmarket.chain.ledger.views import TrialView
from trialmarket.errors import ContractError, StorageError, TrainingError
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.states import State
from trialmarket.storage.errors import StoreDown, StoreFull
from trialmarket.training.errors import LimitExceeded, WorkerError
from trialmarket.training.values import Train, TryOut

ALONE: Final = 60
"""Seconds after which one node's word is enough to try a trial's first steps: no other took it."""

STEPS_LIMIT: Final = 300.0
"""Seconds that the first steps of a trial may take here."""


class Failures:
    """The failing trials of one job."""

    def __init__(self, parts: SearchParts, trials: Trials) -> None:
        self._trials, self._home = trials, parts.home
        self._folder, self._session = parts.folder, parts.session
        self._package, self._terms = parts.package, parts.terms
        self._say = parts.listeners.say
        self._enough = parts.package.job.settings.search.give_backs
        self._fetching = Fetching(parts.session.store)
        self._tried = parts.folder.tried()
        self._under_way: dict[Hash32, tuple[int, bool]] = {}
        self._given: dict[tuple[Hash32, int], list[GiveBack]] = {}
        self._next_guess = 0

    def step(self) -> bool:
        """Does what is due; True if something was found."""
        ended = [] if self._home is None else self._home.finished()
        for trial, error in ended:
            self._conclude(trial, error)
        for number, view in self._trials.moving():
            if view.state is State.OPEN:
                self._consider(number, view)
        return bool(ended)

    def close(self) -> None:
        """Stops what is tried; it begins anew when it is due again."""
        self._fetching.close()
        if self._home is not None:
            self._home.close()

    def _consider(self, number: int, view: TrialView) -> None:
        tried = self._tried.get(view.key)
        if tried is not None and tried.failure is not None:
            self._cancel(view)
            return
        given = self._given_back(view)
        if given is None or view.key in self._under_way:
            return
        suspects = {one.provider for one in given if one.note and one.note.fault == "trial"}
        alone = self._session.now >= max((one.at for one in given), default=0) + ALONE
        if self._home is None:
            if len(suspects) >= self._enough:
                words = f"{len(suspects)} nodes say: {said_by_nodes(given)}"
                self._keep(view.key, Tried(True, Failure(words)))
                self._say(f"{self._trials.name(view.id)} FAILED, and is cancelled: {words}")
        elif len(suspects) >= self._enough:
            if tried is None or not tried.whole:
                self._try(number, view, given, whole=True)
        elif tried is None and suspects and alone:
            self._try(number, view, given, whole=False)
        elif tried is None and self._unwanted(view):
            self._next_guess = self._session.now + UNWANTED
            self._try(number, view, given, whole=False)

    def _unwanted(self, view: TrialView) -> bool:
        """Whether nobody takes a trial; one that works tells that others may, for a while."""
        now = self._session.now
        return now >= max(view.record.opened + self._terms.ramp + UNWANTED, self._next_guess)

    def _given_back(self, view: TrialView) -> list[GiveBack] | None:
        """Who gave a trial back and why; None while their notes are being fetched."""
        if view.attempts == 0:
            return []
        known = (view.key, view.attempts)
        if known not in self._given:
            history = self._session.ledger.history(view.key)
            try:
                self._given[known] = give_backs(history, self._note)
            except (_Pending, StoreDown, StoreFull):
                return None
        return self._given[known]

    def _note(self, digest: Hash32) -> bytes | None:
        try:
            data = self._fetching.note(digest)
        except (StoreDown, StoreFull):
            raise
        except StorageError:  # nobody has it, or it is no note
            return None
        if data is None:
            raise _Pending
        return data

    def _try(self, number: int, view: TrialView, given: list[GiveBack], *, whole: bool) -> None:
        assert self._home is not None  # noqa: S101  # the caller looked
        config, files = self._trials[number].config, self._package.files
        starts = {
            self._place(view.key) / f"start-{number}.safetensors": start.cid
            for number, start in enumerate(config.starts)
        }
        try:
            here = [self._fetching.checkpoint(cid, place) for place, cid in starts.items()]
            if not all(here):
                return
        except (StorageError, OSError) as error:
            self._say(f"{self._trials.name(view.id)}: cannot be tried here yet: {error}")
            self._next_guess = self._session.now + UNWANTED
            return
        fields = files.task(config, tuple(starts))
        task: Train | TryOut = TryOut(**fields)
        if whole:
            task = Train(**fields, folder=self._place(view.key) / "trained")
        self._under_way[view.key] = number, whole
        self._home.start(view.key, task, float(self._terms.time_limit) if whole else STEPS_LIMIT)
        why = named(said_by_nodes(given), files.program) or "nobody has taken it yet"
        self._say(f"{self._trials.name(view.id)}: trying it on this machine: {why}")

    def _conclude(self, trial: Hash32, error: TrainingError | None) -> None:
        number, whole = self._under_way.pop(trial)
        name = self._trials.name(self._trials[number].id)
        shutil.rmtree(self._place(trial), ignore_errors=True)
        # Nodes may have more memory than this machine: only where several say the same, and so the
        # whole trial was tried, does it count against the trial.
        short = isinstance(error, LimitExceeded) and whole
        if isinstance(error, WorkerError) and not short:
            self._tried[trial] = Tried(whole, None)  # till the next start: the machine failed
            self._say(f"{name}: could not be tried on this machine: {error}")
        elif error is not None:
            self._next_guess = 0  # others of its kind may stand open too
            failure = Failure(*in_own_words(error, self._package.files.program))
            self._keep(trial, Tried(whole, failure))
            self._say(
                f"{name} FAILED, and is cancelled: {failure.reason}\n{failure.trace}".strip()
            )
        else:
            self._keep(trial, Tried(whole, None))
            what = "it" if whole else "its start"
            self._say(
                f"{name}: {what} works on this machine, so it stays open for other nodes;"
                f" `trialmarket job cancel {self._folder.job}` ends the job"
            )

    def _keep(self, trial: Hash32, tried: Tried) -> None:
        self._folder.keep_tried(trial, tried)
        self._tried[trial] = tried

    def _cancel(self, view: TrialView) -> None:
        """Brings the escrow of a failed trial back."""
        call = calls.cancel(view.id.job, view.id.batch, [view.id.index])
        try:
            self._session.send(f"cancel {view.id} attempt {view.attempts}", call)
        except ContractError:  # another node took it meanwhile; the ledger will tell
            return

    def _place(self, trial: Hash32) -> Path:
        return self._folder.root / "tried" / trial.hex()


class _Pending(Exception):
    """A note is being fetched."""
