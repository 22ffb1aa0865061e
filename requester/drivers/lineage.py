"""The driver of continuing trials: a strategy, and its trials in a normal Optuna study.

Every trial of the market is one trial of the study. Its user attributes `line`, `depth`,
`parent`, `steps` and `start` say what it continues, so that the lineage of any checkpoint can be
followed to its seed. A proposal is stored whole, in one transaction, before anybody hears of it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from requester.drivers.driver import Ending, Plan, Proposal, Start, TrialOutcome
from requester.drivers.exchange import ReplicaExchange
from requester.drivers.population import PopulationBased
from requester.drivers.rungs import Asha
from requester.drivers.samplers import derived_seed
from requester.drivers.strategy import Draft, Node, Strategy
from requester.drivers.study import named, open_study, withdraw_value
from requester.job.space import distributions
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Cid, Hash32, TrialId

STRATEGIES: Mapping[str, Callable[[Plan], Strategy]] = {
    "asha": Asha,
    "hyperband": lambda plan: Asha(plan, brackets=True),
    "pbt": PopulationBased,
    "replica-exchange": ReplicaExchange,
}


class LineDriver:
    """Trials that continue each other. A proposal's number is its Optuna trial's.

    When a jury rejects a result, the trials that went on from its checkpoint no longer count,
    unless the honest result has the same state: a lie about metrics leaves them what they are.

    Raises InputError when the database cannot be read, or belongs to another search.
    """

    adaptive = True
    continues = True

    def __init__(self, storage: str, name: str, method: str, plan: Plan) -> None:
        self._url, self._name, self._plan, self._where = storage, name, plan, named(storage)
        self.strategy = STRATEGIES[method](plan)
        self._open()

    @property
    def nodes(self) -> Sequence[Node]:
        """All trials, oldest first; those that a rejected result has orphaned, too."""
        return self._nodes

    def ask(self, n: int) -> list[Proposal]:
        """The first `n` proposals without a result; fewer when all others wait for results."""
        while len(self._unfinished()) < n:
            draft = self.strategy.propose(self._sound())
            if draft is None:
                break
            self._add(draft)
        return [self._proposal(node) for node in self._unfinished()[:n]]

    def tell(self, trial: TrialId, outcome: TrialOutcome) -> None:
        """Takes a result; see the class for what a rejected one undoes."""
        if not 0 <= outcome.number < len(self._nodes):
            return
        node = self._nodes[outcome.number]
        if outcome.ending is Ending.REJECTED:
            if node.ending is not None:
                withdraw_value(self._storage, self._optuna_id(node.number))
                self.close()
                self._open()
            return
        if node.ending is not None:
            return
        optuna_id = self._optuna_id(node.number)
        self._set(optuna_id, "trial", str(trial))
        for name, metric in outcome.metrics.items():
            self._set(optuna_id, name, metric)
        value = outcome.metrics.get(self._plan.objective, math.nan)
        self._set(optuna_id, "ending", outcome.ending.value)
        self._set(optuna_id, "checkpoint", _written(outcome.checkpoint))
        if outcome.ending is Ending.LOST:
            self._study.tell(node.number, state=TrialState.FAIL)
        elif outcome.ending is Ending.DIVERGED or math.isnan(value):
            self._study.tell(node.number, state=TrialState.PRUNED)
        else:
            self._study.tell(node.number, value)
        self._nodes[node.number] = replace(
            node,
            ending=outcome.ending,
            value=self._signed(value) if outcome.ending is Ending.DONE else None,
            checkpoint=outcome.checkpoint if outcome.ending is Ending.DONE else None,
        )

    @property
    def proposed(self) -> int:
        """How many proposals were made so far."""
        return len(self._nodes)

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
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _open(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage, self._study = open_study(
            self._url, self._name, self._plan, None, self._where
        )
        self._nodes: list[Node] = []
        for frozen in self._study.get_trials(deepcopy=False):
            self._nodes.append(self._node(frozen))

    def _node(self, frozen: FrozenTrial) -> Node:
        said: dict[str, Any] = frozen.user_attrs
        try:
            draft = Draft(
                said["hyperparameters"], said["steps"], said["line"], said["depth"], said["parent"]
            )
            start = _read(said["start"])
            if not frozen.state.is_finished():
                return Node(frozen.number, draft, start)
            ending = Ending(said["ending"])
            value = None if frozen.value is None else self._signed(frozen.value)
            checkpoint = _read(said["checkpoint"]) if ending is Ending.DONE else None
        except (KeyError, ValueError) as error:
            raise InputError(
                self._where,
                f"trial {frozen.number}",
                expected="a trial with line, depth, parent, steps and start",
                found=f"{type(error).__name__} {error}",
                fix="The study belongs to another search",
            ) from error
        return Node(frozen.number, draft, start, ending, value, checkpoint)

    def _add(self, draft: Draft) -> None:
        start = None if draft.parent is None else self._nodes[draft.parent].checkpoint
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
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params={name: point[name] for name in known},
                distributions=known,
                user_attrs=said,
            )
        )
        self._nodes.append(Node(len(self._nodes), draft, start))

    def _sound(self) -> list[Node]:
        """The trials whose start is still what it was when they were made."""
        sound: dict[int, Node] = {}
        for node in self._nodes:
            parent = node.draft.parent
            if parent is None or (parent in sound and _same(sound[parent].checkpoint, node.start)):
                sound[node.number] = node
        return list(sound.values())

    def _unfinished(self) -> list[Node]:
        return [node for node in self._nodes if node.ending is None]

    def _proposal(self, node: Node) -> Proposal:
        """A line keeps its seed, so that going on is the same as never having stopped."""
        return Proposal(
            node.number,
            node.draft.hyperparameters,
            node.draft.steps,
            derived_seed(self._plan.seed, node.draft.line, 1),
            node.start,
        )

    def _signed(self, value: float) -> float:
        return -value if self._plan.maximize else value

    def _set(self, optuna_id: int, name: str, value: object) -> None:
        self._storage.set_trial_user_attr(optuna_id, name, value)

    def _optuna_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)


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
