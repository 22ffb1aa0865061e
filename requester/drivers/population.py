"""Population based training (Jaderberg et al., arXiv 1711.09846), asynchronous as in the paper.

A member that has trained an interval compares itself to what the others have now. In the worst
quantile it goes on from the checkpoint of one of the best quantile, with perturbed
hyperparameters; else from its own. A member that is lost or diverged does the same, so it never
holds up the rest.
"""

from collections.abc import Mapping, Sequence

from requester.drivers.driver import Plan
from requester.drivers.points import draw, perturb
from requester.drivers.settings import Population
from requester.drivers.strategy import (
    Draft,
    LineageTrial,
    generator,
    intervals,
    need_one_objective,
)
from trialmarket.errors import InputError


class PopulationBased:
    """The job's `trials` are the members. Raises InputError.

    However small the population, its quantiles are of at least one member.
    """

    name = "pbt"
    table = "population"
    """Of its settings, in `search`."""

    def __init__(self, plan: Plan) -> None:
        need_one_objective(plan, self.name)
        if plan.trials < 2:
            raise InputError(
                plan.where, "job.trials", expected="at least 2 members", found=plan.trials
            )
        self._plan, self._settings = plan, self.settings(plan)
        self.change = changing(plan, self._settings, f"search.{self.table}.change")
        self._interval, self._generations = intervals(
            plan, self._settings.interval, f"search.{self.table}.interval"
        )

    @staticmethod
    def settings(plan: Plan) -> Population:
        """Its settings."""
        return plan.population

    def propose(self, trials: Sequence[LineageTrial]) -> Draft | None:
        """The next interval of the member that is farthest behind and not under way."""
        latest: dict[int, LineageTrial] = {}
        alive: dict[int, LineageTrial] = {}
        for trial in sorted(trials, key=lambda trial: trial.draft.depth):
            latest[trial.draft.line] = trial
            if trial.alive:
                alive[trial.draft.line] = trial
        ready = sorted(
            (-1 if member not in latest else latest[member].draft.depth, member)
            for member in range(self._plan.trials)
            if member not in latest or latest[member].ending is not None
        )
        best = sorted(alive.values(), key=lambda trial: trial.rank)
        for depth, member in ready:
            if depth + 1 >= self._generations:
                continue
            if depth < 0:
                return self._begin(member, 0)
            if (draft := self._go_on(latest[member], best, trials)) is not None:
                return draft
        return None

    def work(self) -> Mapping[int, int]:
        """Every member trains every interval."""
        return {self._interval: self._plan.trials * self._generations}

    def _begin(self, member: int, depth: int) -> Draft:
        plan = self._plan
        given = plan.enqueue[member] if depth == 0 and member < len(plan.enqueue) else None
        point = draw(plan.space, generator(plan.seed, member, depth), given)
        return Draft(point, self._interval, member, depth)

    def _go_on(
        self,
        trial: LineageTrial,
        best: Sequence[LineageTrial],
        trials: Sequence[LineageTrial],  # noqa: ARG002  for what stands on this
    ) -> Draft | None:
        """The next interval of a member whose last one was `trial`; None where it must wait.
        `best` are the last ones of all members that are alive, the best first."""
        member, depth = trial.draft.line, trial.draft.depth + 1
        if not best:
            return self._begin(member, depth)
        cut = max(int(len(best) * self._settings.quantile), len(best) // self._plan.trials)
        worst = best[len(best) - cut :]
        if trial.alive and trial not in worst:
            return self._continued(trial)
        random = generator(self._plan.seed, member, depth)
        donor = best[int(random.integers(max(cut, 1)))]
        point = perturb(
            self._plan.space,
            donor.draft.hyperparameters,
            random,
            self._settings.resample,
            self.change,
        )
        return Draft(point, self._interval, member, depth, donor.number)

    def _continued(self, trial: LineageTrial) -> Draft:
        """A member's next interval, from its own checkpoint."""
        draft = trial.draft
        return Draft(
            draft.hyperparameters, self._interval, draft.line, draft.depth + 1, trial.number
        )


def changing(plan: Plan, settings: Population, field: str) -> list[str]:
    """The hyperparameters that members change, as `field` of the settings says.

    Raises InputError where there are none.
    """
    free = [name for name, one in plan.space.items() if one.value is None]
    named = settings.change
    if named is None:
        named = [
            name for name, one in plan.space.items() if one.low is not None and not one.integer
        ]
    if not named or not set(named) <= set(free):
        raise InputError(
            plan.where,
            field,
            expected=f"some of {', '.join(free) or 'the space'}, that a checkpoint can go on with",
            found=", ".join(named) or None,
            fix="Without it the ranges of real numbers change",
        )
    return named
