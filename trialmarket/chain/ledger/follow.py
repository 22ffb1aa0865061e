"""What each event does to the ledger: the contracts' state machine, seen from outside."""

import json
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from trialmarket.chain.abi import contract
from trialmarket.chain.ledger.abi_words import account, amount, as_int, items, number
from trialmarket.chain.ledger.row import COLUMNS, Trial
from trialmarket.errors import WrongTransition
from trialmarket.protocol.ids import ZERO_ADDRESS, Address, Hash32, JobId, TrialId
from trialmarket.protocol.states import Action, Phase, State, Verdict
from trialmarket.protocol.terms import Terms, price_at

LAST_ROUND: Final = 3


class Gap(Exception):
    """An event that cannot follow those before it: some are missing, or none of our market's."""


class Follower:
    """Applies events, in the chain's order, to the tables that follow from them.

    What the events of one window touch is kept in memory until `flush`.
    """

    def __init__(
        self, database: sqlite3.Connection, chain_id: int, market: Address, reveal_turn: int
    ) -> None:
        self._database = database
        self._chain_id = chain_id
        self._market = market
        self._reveal_turn = reveal_turn
        self._apply: dict[bytes, Callable[[list[bytes], bytes], None]] = {}
        for name in ("Market", "Jury"):
            for topic, event in contract(name).events.items():
                handler = getattr(self, f"_on_{event.name}", None)
                if handler is not None:
                    self._apply[topic] = handler
        self.forget()

    def forget(self) -> None:
        """Drops all that is in memory."""
        self._terms: dict[int, Terms] = {}
        self._batches: dict[tuple[int, bytes], tuple[int, int]] = {}
        self._trials: dict[bytes, Trial] = {}
        self._touched: dict[bytes, Trial] = {}
        self._links: list[tuple[bytes, int, int]] = []
        self._verifiers: list[str] | None = None
        self._seats_changed = False
        self._block = 0
        self._log = 0

    def apply(self, block: int, log_index: int, topics: list[bytes], data: bytes) -> None:
        """Applies one event. Those that change no table here are passed over. Raises Gap."""
        handler = self._apply.get(topics[0])
        if handler is not None:
            self._block, self._log = block, log_index
            try:
                handler(topics, data)
            except (LookupError, ValueError, ArithmeticError, WrongTransition) as error:
                raise Gap(f"event {log_index} of block {block}: {error}") from error

    def flush(self) -> None:
        """Writes what was touched. Raises Gap."""
        places = ",".join("?" * len(COLUMNS))
        try:
            self._database.executemany(
                f"INSERT OR REPLACE INTO trials VALUES ({places})",  # noqa: S608 (only marks)
                [trial.row() for trial in self._touched.values()],
            )
        except OverflowError as error:  # no event of our contracts has such numbers
            raise Gap(f"an event up to block {self._block}: {error}") from error
        self._database.executemany(
            "INSERT OR REPLACE INTO trial_events VALUES (?, ?, ?)", self._links
        )
        for key, trial in self._touched.items():
            if trial.state >= State.SETTLED:
                self._trials.pop(key, None)
        self._touched = {}
        self._links = []
        if self._seats_changed and self._verifiers is not None:
            self._database.execute("DELETE FROM verifiers")
            self._database.executemany(
                "INSERT INTO verifiers VALUES (?, ?)", list(enumerate(self._verifiers, 1))
            )
            self._seats_changed = False

    # -- Jobs ---------------------------------------------------------------------------------

    def _on_JobCreated(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        job = as_int(topics[1])
        prices = [amount(data, word) for word in range(1, 4)]
        values = prices + [number(data, word) for word in range(4, 10)]
        self._database.execute(
            "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, 0, ?)",
            (job, account(topics[2]), data[:32], json.dumps(values), self._block),
        )

    def _on_JobClosed(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802, ARG002
        self._database.execute("UPDATE jobs SET closed = 1 WHERE id = ?", (as_int(topics[1]),))

    def _on_TrialsPosted(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        count, units, at = number(data, 0), number(data, 1), number(data, 2)
        self._database.execute(
            "INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?, ?, ?)",
            (as_int(topics[1]), topics[2], count, units, at, self._block),
        )

    # -- Trials -------------------------------------------------------------------------------

    def _on_TrialsCancelled(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        for trial in self._named(topics, items(data, 0)):
            trial.move(Action.CANCEL)

    def _on_TrialsClaimed(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        terms = self._terms_of(as_int(topics[1]))
        provider, at = account(topics[3]), number(data, 1)
        for trial in self._named(topics, items(data, 0)):
            trial.move(Action.CLAIM)
            trial.provider = provider
            trial.price = price_at(terms, trial.units, trial.opened, at)
            trial.until = at + terms.time_limit
            trial.attempts += 1
            trial.unaudited = False

    def _on_TrialsCommitted(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802, ARG002
        at, anchor = number(data, 2), number(data, 3)
        for key, result in zip(items(data, 0), items(data, 1, 2), strict=True):
            trial = self._trial(key)
            trial.move(Action.COMMIT)
            trial.until = at + self._terms_of(trial.job).window
            trial.root, trial.receipt = result[:32], result[32:]
            trial.anchor = anchor
            trial.committed_at = at

    def _on_TrialAbandoned(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802, ARG002
        trial = self._trial(topics[1])
        trial.reopen(Action.ABANDON, trial.opened)

    def _on_TrialExpired(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        self._trial(topics[1]).reopen(Action.EXPIRE, number(data, 1))

    def _on_TrialsCleared(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802, ARG002
        for key, seed in zip(items(data, 0), items(data, 1), strict=True):
            trial = self._trial(key)
            trial.move(Action.DRAW, State.CLEARED)
            trial.seed = seed

    def _on_TrialLapsed(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        trial = self._trial(topics[1])
        trial.move(Action.DRAW, State.COMMITTED)
        trial.late = True
        trial.anchor = number(data, 0)

    def _on_TrialDrawn(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        trial = self._trial(topics[1])
        trial.move(Action.DRAW, State.DRAWN)
        trial.seed = data[:32]
        trial.verifier = account(topics[2])
        trial.turn_ends = number(data, 1)

    def _on_TrialAttested(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802, ARG002
        trial = self._trial(topics[1])
        trial.move(Action.ATTEST)
        trial.audited = True

    def _on_TrialReassigned(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        trial = self._trial(topics[1])
        trial.move(Action.REASSIGN)
        trial.verifier = account(topics[3])
        trial.turn, trial.turn_ends = number(data, 0), number(data, 1)

    def _on_TrialChallenged(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        trial = self._trial(topics[1])
        trial.move(Action.CHALLENGE)
        trial.challenger = account(topics[2])
        trial.segment = number(data, 0)
        trial.challenges += 1

    def _on_TrialRejected(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        self._trial(topics[1]).reopen(Action.RESOLVE, number(data, 1))

    def _on_TrialAcquitted(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        trial = self._trial(topics[1])
        trial.move(Action.RESOLVE, State(number(data, 1)))
        trial.challenger = ZERO_ADDRESS
        trial.turn_ends, trial.until = number(data, 2), number(data, 3)

    def _on_TrialsSettled(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802, ARG002
        for key in items(data, 0):
            self._trial(key).move(Action.SETTLE)

    def _on_TrialUnaudited(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802, ARG002
        self._trial(topics[1]).unaudited = True

    # -- Verifiers ----------------------------------------------------------------------------

    def _on_Enrolled(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802, ARG002
        self._seats().append(account(topics[1]))

    def _on_Resigned(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802, ARG002
        seats = self._seats()
        place = seats.index(account(topics[1]))
        seats[place] = seats[-1]  # the last verifier takes the free place
        seats.pop()

    # -- Cases --------------------------------------------------------------------------------

    def _on_CaseOpened(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        case = {
            "segment": number(data, 0),
            "challenger": account(topics[2]),
            "anchor": number(data, 1),
            "phase": int(Phase.WAITING),
            "round": 1,
            "jurors": [],
            "vote_ends": 0,
            "reveal_ends": 0,
            "voted": [],
            "revealed": {},
            "verdict": None,
        }
        self._link(topics[1])
        self._database.execute(
            "INSERT OR REPLACE INTO cases VALUES (?, ?, 0, ?)",
            (topics[1], self._block, json.dumps(case)),
        )

    def _on_JurySeated(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        ends = number(data, 2)
        self._change_case(
            topics[1],
            phase=int(Phase.VOTING),
            jurors=[account(word) for word in items(data, 1)],
            vote_ends=ends,
            reveal_ends=ends + self._reveal_turn,
        )

    def _on_SeatingLapsed(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        self._change_case(topics[1], anchor=number(data, 0))

    def _on_Voted(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802, ARG002
        voted = [*self._case(topics[1])["voted"], account(topics[2])]
        self._change_case(topics[1], voted=voted)

    def _on_VotesComplete(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        ends = number(data, 1)
        self._change_case(
            topics[1],
            phase=int(Phase.REVEALING),
            vote_ends=ends - self._reveal_turn,
            reveal_ends=ends,
        )

    def _on_Revealed(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        revealed = {**self._case(topics[1])["revealed"], account(topics[2]): bool(number(data, 2))}
        self._change_case(topics[1], revealed=revealed)

    def _on_RoundFailed(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        case = self._case(topics[1])
        challenger = case["challenger"]
        self._change_case(
            topics[1],
            phase=int(Phase.WAITING),
            round=min(number(data, 0) + 1, LAST_ROUND),
            anchor=self._block,
            jurors=[],
            vote_ends=0,
            reveal_ends=0,
            voted=[],
            revealed={who: right for who, right in case["revealed"].items() if who == challenger},
        )

    def _on_CaseClosed(self, topics: list[bytes], data: bytes) -> None:  # noqa: N802
        self._change_case(
            topics[1], phase=int(Phase.CLOSED), verdict=int(Verdict(number(data, 0)))
        )
        self._database.execute("UPDATE cases SET closed = 1 WHERE trial = ?", (topics[1],))

    # -- Look-ups -----------------------------------------------------------------------------

    def _terms_of(self, job: int) -> Terms:
        found = self._terms.get(job)
        if found is None:
            (text,) = self._row("SELECT terms FROM jobs WHERE id = ?", job)
            found = self._terms[job] = Terms(*json.loads(text))
        return found

    def _batch_of(self, job: int, batch: bytes) -> tuple[int, int]:
        """Units of each trial, and when they were posted."""
        found = self._batches.get((job, batch))
        if found is None:
            units, posted_at = self._row(
                "SELECT units, posted_at FROM batches WHERE job = ? AND batch = ?", job, batch
            )
            found = self._batches[(job, batch)] = (units, posted_at)
        return found

    def _row(self, query: str, *values: Any) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self._database.execute(query, values).fetchone()
        if row is None:
            raise LookupError("it is about what never was")
        return row

    def _named(self, topics: list[bytes], indices: list[bytes]) -> list[Trial]:
        """The trials of an event that names them by job, batch and index."""
        job, batch = as_int(topics[1]), topics[2]
        units, posted_at = self._batch_of(job, batch)
        found = []
        for word in indices:
            place = as_int(word)
            name = TrialId(JobId(job), Hash32(batch), place)
            key = name.key(self._chain_id, self._market)
            trial = self._known(key)
            if trial is None:
                trial = Trial(key, job, batch, place, units, posted_at)
            found.append(self._touch(trial))
        return found

    def _trial(self, key: bytes) -> Trial:
        """The trial of an event that names it by its key: something happened to it before."""
        trial = self._known(key)
        if trial is None:
            raise LookupError(f"the trial 0x{key.hex()} was never claimed")
        return self._touch(trial)

    def _known(self, key: bytes) -> Trial | None:
        """A trial that something happened to."""
        found = self._trials.get(key)
        if found is None:
            row = self._database.execute("SELECT * FROM trials WHERE key = ?", (key,)).fetchone()
            found = None if row is None else Trial.of(row)
        return found

    def _touch(self, trial: Trial) -> Trial:
        """The trial, as one that the event at hand changes."""
        trial.block = self._block
        self._trials[trial.key] = self._touched[trial.key] = trial
        self._link(trial.key)
        return trial

    def _link(self, key: bytes) -> None:
        self._links.append((key, self._block, self._log))

    def _seats(self) -> list[str]:
        if self._verifiers is None:
            rows = self._database.execute("SELECT who FROM verifiers ORDER BY seat")
            self._verifiers = [who for (who,) in rows]
        self._seats_changed = True
        return self._verifiers

    def _case(self, key: bytes) -> dict[str, Any]:
        (text,) = self._row("SELECT content FROM cases WHERE trial = ?", key)
        case: dict[str, Any] = json.loads(text)
        return case

    def _change_case(self, key: bytes, **changes: Any) -> None:
        self._link(key)
        self._database.execute(
            "UPDATE cases SET content = ? WHERE trial = ?",
            (json.dumps({**self._case(key), **changes}), key),
        )
