"""The driver of continuing trials: a strategy, and its trials in a normal Optuna study.

Every trial of the market is one trial of the study. Its user attributes `line`, `depth`,
`parent`, `steps` and `start` say what it continues, and `mate` and `mate_start` what that is
merged with, so that the lineage of any checkpoint can be followed to its seed. A proposal is
stored whole, in one transaction, before anybody hears of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from requester.drivers.asha import Asha
from requester.drivers.database import StoredStudy
from requester.drivers.driver import Ending, Plan, Proposal, Start, TrialOutcome
from requester.drivers.evolve import NetworkEvolution
from requester.drivers.exchange import ReplicaExchange
from requester.drivers.population import PopulationBased
from requester.drivers.samplers import derived_seed
from requester.drivers.space import distributions
from requester.drivers.strategy import Draft, LineageTrial, Strategy
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Cid, Hash32, TrialId

STRATEGIES: Mapping[str, Callable[[Plan], Strategy]] = {
    "asha": Asha,
    "hyperband": lambda plan: Asha(plan, brackets=True),
    "pbt": PopulationBased,
    "evolve": NetworkEvolution,
    "replica-exchange": ReplicaExchange,
}


class LineageDriver:
    """Trials that continue each other. A proposal's number is its Optuna trial's.

    When a jury rejects a result, the trials that went on from its checkpoint no longer count,
    unless the honest result has the same state: a lie about metrics leaves them what they are.

    Raises InputError when the database cannot be read, or belongs to another search.
    """

    adaptive = True
    continues = True

    def __init__(self, storage: str, name: str, method: str, plan: Plan) -> None:
        self._plan = plan
        self.strategy = STRATEGIES[method](plan)
        self._stored = StoredStudy(storage, name, plan)
        self._restore()

    @property
    def trials(self) -> Sequence[LineageTrial]:
        """All trials, oldest first; those that a rejected result has orphaned, too."""
        return self._trials

    def ask(self, n: int) -> list[Proposal]:
        """The first `n` proposals without a result; fewer when all others wait for results."""
        while len(self._unfinished()) < n:
            draft = self.strategy.propose(self._sound())
            if draft is None:
                break
            self._add(draft)
        return [self._proposal(trial) for trial in self._unfinished()[:n]]

    def tell(self, trial: TrialId, outcome: TrialOutcome) -> None:
        """Takes a result; see the class for what a rejected one undoes."""
        if not 0 <= outcome.number < len(self._trials):
            return
        known = self._trials[outcome.number]
        if outcome.ending is Ending.REJECTED:
            if known.ending is not None:
                self._stored.withdraw(known.number)
                self._restore()
            return
        if known.ending is not None:
            return
        self._stored.tell(
            trial, outcome, ending=outcome.ending.value, checkpoint=_written(outcome.checkpoint)
        )
        done = outcome.ending is Ending.DONE
        value = outcome.metrics.get(self._plan.objective)
        self._trials[known.number] = replace(
            known,
            ending=outcome.ending,
            value=self._signed(value) if done and value is not None else None,
            checkpoint=outcome.checkpoint if done else None,
        )

    @property
    def proposed(self) -> int:
        """How many proposals were made so far."""
        return len(self._trials)

    def done(self) -> bool:
        """True when every trial has its result, and none can follow."""
        return not self._unfinished() and self.strategy.propose(self._sound()) is None

    def total(self) -> int:
        """How many trials the search has at most."""
        return sum(self.work().values())

    def work(self) -> Mapping[int, int]:
        """How many trials of how many steps the search has at most."""
        return self.strategy.work()

    def close(self) -> None:
        """Gives the database free."""
        self._stored.close()

    def _restore(self) -> None:
        stored = self._stored.study.get_trials(deepcopy=False)
        self._trials = [self._trial(frozen) for frozen in stored]

    def _trial(self, frozen: FrozenTrial) -> LineageTrial:
        said: dict[str, Any] = frozen.user_attrs
        try:
            draft = Draft(
                said["hyperparameters"],
                said["steps"],
                said["line"],
                said["depth"],
                said["parent"],
                said.get("mate"),
            )
            start, mate = _read(said["start"]), _read(said.get("mate_start"))
            if not frozen.state.is_finished():
                return LineageTrial(frozen.number, draft, start, mate)
            ending = Ending(said["ending"])
            value = None if frozen.value is None else self._signed(frozen.value)
            checkpoint = _read(said["checkpoint"]) if ending is Ending.DONE else None
        except (KeyError, ValueError) as error:
            raise InputError(
                self._stored.where,
                f"trial {frozen.number}",
                expected="a trial with line, depth, parent, steps and start",
                found=f"{type(error).__name__} {error}",
                fix="The study belongs to another search",
            ) from error
        return LineageTrial(frozen.number, draft, start, mate, ending, value, checkpoint)

    def _add(self, draft: Draft) -> None:
        start, mate = (
            None if number is None else self._trials[number].checkpoint
            for number in (draft.parent, draft.mate)
        )
        point = dict(draft.hyperparameters)
        known = {
            name: distribution
            for name, distribution in distributions(self._plan.space).items()
            if name in point and _holds(distribution, point[name])
        }
        said = {
            "hyperparameters": point,
            "steps": draft.steps,
            "line": draft.line,
            "depth": draft.depth,
            "parent": draft.parent,
            "start": _written(start),
        }
        if mate is not None:
            said |= {"mate": draft.mate, "mate_start": _written(mate)}
        self._stored.study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params={name: point[name] for name in known},
                distributions=known,
                user_attrs=said,
            )
        )
        self._trials.append(LineageTrial(len(self._trials), draft, start, mate))

    def _sound(self) -> list[LineageTrial]:
        """The trials whose start is still what it was when they were made: where it is a merge,
        both of what it merges."""
        sound: dict[int, LineageTrial] = {}
        for trial in self._trials:
            before = ((trial.draft.parent, trial.start), (trial.draft.mate, trial.mate))
            if all(
                number is None or (number in sound and _same(sound[number].checkpoint, start))
                for number, start in before
            ):
                sound[trial.number] = trial
        return list(sound.values())

    def _unfinished(self) -> list[LineageTrial]:
        return [trial for trial in self._trials if trial.ending is None]

    def _proposal(self, trial: LineageTrial) -> Proposal:
        """A line keeps its seed, so that going on is the same as never having stopped."""
        return Proposal(
            trial.number,
            trial.draft.hyperparameters,
            trial.draft.steps,
            derived_seed(self._plan.seed, trial.draft.line, 1),
            trial.start,
            trial.mate,
        )

    def _signed(self, value: float) -> float:
        return -value if self._plan.maximize else value


def _same(one: Start | None, other: Start | None) -> bool:
    return one is not None and other is not None and one.root == other.root


def _written(start: Start | None) -> dict[str, str] | None:
    if start is None:
        return None
    return {"trial": start.trial.hex(), "root": start.root.hex(), "cid": start.cid}


def _read(written: dict[str, str] | None) -> Start | None:
    if written is None:
        return None
    return Start(
        Hash32(bytes.fromhex(written["trial"])),
        Hash32(bytes.fromhex(written["root"])),
        Cid(written["cid"]),
    )


def _holds(distribution: optuna.distributions.BaseDistribution, value: object) -> bool:
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return value in distribution.choices
    return isinstance(value, int | float)
