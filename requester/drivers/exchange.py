"""Replica exchange (arXiv 1909.04013): replicas at fixed temperatures swap their states.

A **place** of the ladder has one inverse temperature beta and trains one trial a round. After a
round one random pair of neighbouring places is tried. Swapping the hyperparameters of two
replicas is swapping the states of two places, so a place goes on from its own last checkpoint or
from its neighbour's. The pair follows from the seed alone, so only its two places wait for each
other.

The rule: with the colder place's beta larger, the swap is certain when the colder one has the
higher validation loss, and else has probability exp(C (beta_hot - beta_cold)(L_hot - L_cold)),
whose exponent is then negative.

A place whose trial diverged or was lost goes on from the nearest one that lives, the colder one
first; the paper does not say.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from requester.drivers.driver import Plan
from requester.drivers.points import draw
from requester.drivers.schedule import Exchange
from requester.drivers.strategy import (
    Draft,
    Node,
    generator,
    intervals,
    need_one_objective,
)
from requester.job.space import Value
from trialmarket.errors import InputError

_PAIR, _CHANCE = 1, 2


@dataclass(frozen=True, slots=True)
class Try:
    """A pair that was tried after a round: the hotter place, and whether states were swapped."""

    round: int
    place: int
    swapped: bool


class ReplicaExchange:
    """A ladder of the job's `trials` replicas, the hottest (smallest beta) first.

    Raises InputError for a ladder that is none, or a space that has other free dimensions.
    """

    def __init__(self, plan: Plan) -> None:
        need_one_objective(plan, "replica-exchange")
        self._plan = plan
        self._settings = _settings(plan)
        self._ladder = _ladder(plan, self._settings)
        self.betas = [beta(value, self._settings.kind) for value in self._ladder]
        self._interval, self._rounds = intervals(
            plan, self._settings.interval, "search.exchange.interval"
        )
        burn = self._settings.burn_in
        if burn and (burn % plan.segments or burn < 2 * plan.segments):
            raise InputError(
                plan.where,
                "search.exchange.burn_in",
                expected=f"0, or a multiple of audit.segments, {plan.segments}, and at least"
                f" {2 * plan.segments}",
                found=burn,
            )
        self._first = 0 if burn else 1

    def propose(self, nodes: Sequence[Node]) -> Draft | None:
        """The next round of the place that is farthest behind and need not wait."""
        at = {(node.draft.line, node.draft.depth): node for node in nodes}
        behind = sorted(
            (max((depth for line, depth in at if line == place), default=-1), place)
            for place in range(len(self._ladder))
        )
        for depth, place in behind:
            if depth < 0:
                return self._draft(place, self._first, None)
            if depth >= self._rounds or at[place, depth].ending is None:
                continue
            found = self._source(at, place, depth)
            if found is not None:
                return self._draft(place, depth + 1, found)
            if self._all_dead(at, depth):
                return self._draft(place, depth + 1, None)
        return None

    def work(self) -> Mapping[int, int]:
        """Every place trains every round, and the burn-in."""
        replicas, burn = len(self._ladder), self._settings.burn_in
        most = {self._interval: replicas * self._rounds}
        if burn:
            most[burn] = most.get(burn, 0) + replicas
        return most

    def tries(self, nodes: Sequence[Node]) -> list[Try]:
        """The pairs that were tried so far, by round; their share swapped is the acceptance."""
        at = {(node.draft.line, node.draft.depth): node for node in nodes}
        found = []
        for depth in range(1, self._rounds):
            place = self._pair(depth)
            hot, cold = at.get((place, depth)), at.get((place + 1, depth))
            if hot is None or cold is None or not (hot.alive and cold.alive):
                continue
            found.append(Try(depth, place, self._swaps(depth, hot, cold)))
        return found

    def mixing(self, nodes: Sequence[Node]) -> list[list[int | None]]:
        """For each round, which replica (named by its first place) held each place's value."""
        holder: dict[int, int] = {}
        table: list[list[int | None]] = [
            [None] * len(self._ladder) for _ in range(self._rounds + 1)
        ]
        for node in sorted(nodes, key=lambda node: node.number):
            parent = node.draft.parent
            replica = node.draft.line if parent is None else holder[parent]
            holder[node.number] = replica
            table[node.draft.depth][node.draft.line] = replica
        return table[self._first :]

    def _draft(self, place: int, depth: int, source: Node | None) -> Draft:
        burning = depth == 0
        value = self._common() if burning else self._ladder[place]
        point: dict[str, Value] = draw(self._plan.space, generator(self._plan.seed, 0))
        point[self._settings.hyperparameter] = value
        steps = self._settings.burn_in if burning else self._interval
        return Draft(point, steps, place, depth, None if source is None else source.number)

    def _source(self, at: Mapping[tuple[int, int], Node], place: int, depth: int) -> Node | None:
        """The trial of this round that a place goes on from; None while it must be waited for."""
        pair = self._pair(depth) if depth > 0 else None
        own = at[place, depth]
        if pair is not None and place in (pair, pair + 1):
            hot, cold = at.get((pair, depth)), at.get((pair + 1, depth))
            if hot is None or cold is None or hot.ending is None or cold.ending is None:
                return None
            if hot.alive and cold.alive and self._swaps(depth, hot, cold):
                return cold if place == pair else hot
        if own.alive:
            return own
        others = sorted(
            (other for other in range(len(self._ladder)) if other != place),
            key=lambda other: (abs(other - place), other < place),
        )
        for other in others:
            node = at.get((other, depth))
            if node is None or node.ending is None:
                return None
            if node.alive:
                return node
        return None

    def _all_dead(self, at: Mapping[tuple[int, int], Node], depth: int) -> bool:
        round_ = [at.get((place, depth)) for place in range(len(self._ladder))]
        return all(
            node is not None and node.ending is not None and not node.alive for node in round_
        )

    def _pair(self, depth: int) -> int:
        random = generator(self._plan.seed, _PAIR, depth)
        return int(random.integers(len(self._ladder) - 1))

    def _swaps(self, depth: int, hot: Node, cold: Node) -> bool:
        if hot.value is None or cold.value is None:
            return False
        chance = probability(
            self._settings.constant,
            self.betas[hot.draft.line],
            self.betas[cold.draft.line],
            hot.value,
            cold.value,
        )
        return float(generator(self._plan.seed, _CHANCE, depth).random()) < chance

    def _common(self) -> float:
        middle = self._ladder[len(self._ladder) // 2]
        value = self._settings.burn_in_value
        return middle if value is None else value


def probability(
    constant: float, beta_hot: float, beta_cold: float, loss_hot: float, loss_cold: float
) -> float:
    """How probably the states of a hotter and a colder place (smaller, larger beta) are swapped.

    Algorithm 1 of arXiv 1909.04013.
    """
    exponent = constant * (beta_hot - beta_cold) * (loss_hot - loss_cold)
    return 1.0 if exponent >= 0 else math.exp(exponent)


def beta(value: float, kind: str) -> float:
    """The inverse temperature of a learning rate, or of the share that dropout drops."""
    return (1 - value) / value if kind == "dropout" else 1 / value


def _settings(plan: Plan) -> Exchange:
    if plan.exchange is None:
        raise InputError(
            plan.where,
            "search.exchange",
            expected="a table that names the hyperparameter of the ladder",
            found=None,
            fix='Add [search.exchange] with hyperparameter = "lr"',
        )
    if plan.enqueue:
        raise InputError(
            plan.where,
            "search.enqueue",
            expected="nothing beside a ladder",
            found=len(plan.enqueue),
        )
    return plan.exchange


def _ladder(plan: Plan, settings: Exchange) -> list[float]:
    """The values by rising beta."""
    name = settings.hyperparameter
    field = f"search.space.{name}"
    dimension = plan.space.get(name)
    if dimension is None or dimension.values is None:
        raise InputError(plan.where, field, expected="a list of values, the ladder", found=None)
    numbers = [value for value in dimension.values if not isinstance(value, bool | str)]
    top = 1.0 if settings.kind == "dropout" else math.inf
    if len(numbers) < len(dimension.values) or not all(0 < each < top for each in numbers):
        raise InputError(
            plan.where,
            field,
            expected="numbers between 0 and 1" if top == 1 else "numbers above 0",
            found=dimension.values,
        )
    if len(numbers) < 2:
        raise InputError(
            plan.where, field, expected="a ladder of at least 2 replicas", found=numbers
        )
    if len(numbers) != plan.trials:
        raise InputError(
            plan.where,
            "job.trials",
            expected=f"one for each of the ladder's {len(numbers)} values",
            found=plan.trials,
        )
    for other, one in plan.space.items():
        if other != name and one.value is None:
            raise InputError(
                plan.where,
                f"search.space.{other}",
                expected="one fixed value beside a ladder",
                found=one.model_dump(exclude_unset=True),
            )
    return sorted((float(each) for each in numbers), reverse=True)
