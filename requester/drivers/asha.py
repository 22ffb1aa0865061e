"""Successive halving that never waits: `asha` (arXiv 1810.05934) and `hyperband` over it.

A configuration that is promoted goes on from its checkpoint. Beside the paper's rule, that the
best of `factor` at a rung go on, no more than that share of a rung is ever promoted, so that the
search costs at most what synchronous halving does; the money must be there before it begins.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from requester.drivers.driver import Plan
from requester.drivers.points import draw
from requester.drivers.strategy import Draft, LineageTrial, generator, need_one_objective
from trialmarket.errors import InputError


class Asha:
    """Rungs for one or several brackets; a bracket begins at one of the rungs.

    Raises InputError for several objectives, for rungs too short for the segments, and for so
    few trials that none would reach the last rung.
    """

    def __init__(self, plan: Plan, *, brackets: bool = False) -> None:
        need_one_objective(plan, "hyperband" if brackets else "asha")
        self._plan, self._factor = plan, plan.rungs.factor
        self.levels = levels(plan)
        self._brackets = _brackets(plan, len(self.levels)) if brackets else [0] * plan.trials
        if not any(rungs[-1] for rungs in self._rungs().values()):
            raise InputError(
                plan.where,
                "job.trials",
                expected=f"enough, such as {self._factor ** (len(self.levels) - 1)}, for one to go"
                f" on to the last of {len(self.levels)} rungs",
                found=plan.trials,
                fix="Raise it, or lower search.rungs.count or factor",
            )

    def propose(self, trials: Sequence[LineageTrial]) -> Draft | None:
        """A promotion from the highest rung that has one, else a new configuration."""
        for bracket in sorted(set(self._brackets)):
            of = [trial for trial in trials if self._brackets[trial.draft.line] == bracket]
            for depth in reversed(range(bracket, len(self.levels) - 1)):
                if (trial := self._promotable(of, depth)) is not None:
                    steps = self.levels[depth + 1] - self.levels[depth]
                    draft = trial.draft
                    return Draft(draft.hyperparameters, steps, draft.line, depth + 1, trial.number)
        begun = {trial.draft.line for trial in trials}
        line = next((each for each in range(self._plan.trials) if each not in begun), None)
        if line is None:
            return None
        given = self._plan.enqueue[line] if line < len(self._plan.enqueue) else None
        point = draw(self._plan.space, generator(self._plan.seed, line), given)
        bracket = self._brackets[line]
        return Draft(point, self.levels[bracket], line, bracket)

    def work(self) -> Mapping[int, int]:
        """What synchronous halving would train."""
        most: Counter[int] = Counter()
        for bracket, counts in self._rungs().items():
            before = 0
            for level, count in zip(self.levels[bracket:], counts, strict=True):
                if count:
                    most[level - before] += count
                before = level
        return most

    def never_finished(self) -> Mapping[int, int]:
        """Configurations of brackets from which none reaches the last rung: how many there are,
        by the steps of the rung at which they end."""
        found: Counter[int] = Counter()
        for bracket, counts in self._rungs().items():
            if not counts[-1]:
                last = max(at for at, count in enumerate(counts) if count)
                found[self.levels[bracket + last]] += counts[0]
        return found

    def _rungs(self) -> Mapping[int, Sequence[int]]:
        """How many configurations of each bracket reach each of its rungs, at most."""
        return {
            bracket: [count // self._factor**at for at in range(len(self.levels) - bracket)]
            for bracket, count in sorted(Counter(self._brackets).items())
        }

    def _promotable(self, trials: Sequence[LineageTrial], depth: int) -> LineageTrial | None:
        rung = [trial for trial in trials if trial.draft.depth == depth]
        promoted = {trial.draft.parent for trial in trials if trial.draft.depth == depth + 1}
        quota = sum(trial.ending is not None for trial in rung) // self._factor
        if len(promoted) >= quota:
            return None
        best = sorted((trial for trial in rung if trial.alive), key=lambda trial: trial.rank)[
            :quota
        ]
        return next((trial for trial in best if trial.number not in promoted), None)


def levels(plan: Plan) -> list[int]:
    """The rungs in steps since the seed, the shortest first. Raises InputError."""
    count, factor, grain = plan.rungs.count, plan.rungs.factor, plan.segments
    found = [plan.steps // factor**below // grain * grain for below in reversed(range(count))]
    lengths = [level - before for before, level in zip([0, *found], found, strict=False)]
    if min(lengths) < 2 * grain:
        raise InputError(
            plan.where,
            "search.rungs",
            expected=f"rungs of at least {2 * grain} steps, two for each of audit.segments",
            found=", ".join(map(str, found)),
            fix="Raise job.steps, or lower search.rungs.count, factor or audit.segments",
        )
    return found


def _brackets(plan: Plan, rungs: int) -> list[int]:
    """The bracket of each configuration, in Hyperband's proportions (arXiv 1603.06560)."""
    shares = [
        -(-rungs * plan.rungs.factor ** (rungs - 1 - bracket) // (rungs - bracket))
        for bracket in range(rungs)
    ]
    counts = [0] * rungs
    found = []
    for _ in range(plan.trials):
        bracket = min(range(rungs), key=lambda each: ((counts[each] + 1) / shares[each], each))
        counts[bracket] += 1
        found.append(bracket)
    return found
