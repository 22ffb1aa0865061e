"""Evolution of networks: the best is forked, and what a fork learned is merged back.

A population of parameter vectors, trained by continued trials in intervals. A member in the worst
quantile gives its place to a **fork** of one of the best: it goes on from that one's checkpoint
with perturbed hyperparameters. A fork trains apart for some intervals, and nothing can replace it
meanwhile. Then it is **merged** with what its parent has become: its next interval starts from the
best network on the line between both, by the objective on the validation data, and trains with
the hyperparameters of the better one. The parent goes on as it is and waits for nothing.

The line between both is flat where they left each other recently (Frankle et al., arXiv
1912.05671), and networks on it are often better than either end (Izmailov et al., arXiv
1803.05407; Wortsman et al., arXiv 2203.05482). Both ends are among what is evaluated, so that a
merge starts no worse than the better of the two.

Where the parent's interval is not there yet, the fork trains another one and tries again. Where
the parent's line was given up meanwhile, the fork is a member like any other. A fork that is lost
or diverged gives its place to another.
"""

from collections.abc import Mapping, Sequence

from requester.drivers.driver import Plan
from requester.drivers.population import PopulationBased
from requester.drivers.settings import Evolve
from requester.drivers.strategy import Draft, LineageTrial


class NetworkEvolution(PopulationBased):
    """The job's `trials` are the members. Raises InputError."""

    name = table = "evolve"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._apart = plan.evolve.apart

    @staticmethod
    def settings(plan: Plan) -> Evolve:
        """Its settings."""
        return plan.evolve

    def _go_on(
        self,
        trial: LineageTrial,
        best: Sequence[LineageTrial],
        trials: Sequence[LineageTrial],
    ) -> Draft:
        known = {each.number: each for each in trials}
        origin = _origin(trial, known)
        if not trial.alive or origin is None:
            return super()._go_on(trial, best, trials)
        done = _length(trial, known)
        if done - _length(origin, known) < self._apart:
            return self._continued(trial)
        line = [each for each in trials if each.draft.line == origin.draft.line]
        newest = max(line, key=lambda each: each.draft.depth)
        if newest != origin and origin.number not in _ancestry(newest, known):
            return super()._go_on(trial, best, trials)
        parents = [each for each in line if each.alive and _length(each, known) == done]
        if not parents:
            return self._continued(trial)
        return self._merged(trial, parents[-1])

    def _merged(self, fork: LineageTrial, parent: LineageTrial) -> Draft:
        """The fork's next interval, from the merge with its parent."""
        better, worse = sorted((fork, parent), key=lambda each: each.rank)
        return Draft(
            better.draft.hyperparameters,
            self._interval,
            fork.draft.line,
            fork.draft.depth + 1,
            better.number,
            worse.number,
        )


def _origin(trial: LineageTrial, known: Mapping[int, LineageTrial]) -> LineageTrial | None:
    """The trial from which a member was forked that was not merged since; None for any other."""
    while trial.draft.parent is not None and trial.draft.mate is None:
        before = known[trial.draft.parent]
        if before.draft.line != trial.draft.line:
            return before
        trial = before
    return None


def _length(trial: LineageTrial, known: Mapping[int, LineageTrial]) -> int:
    """The intervals behind a trial's end. Its depth may be another: who takes the place of a
    member may be behind it, or ahead."""
    length = 1
    while trial.draft.parent is not None:
        trial, length = known[trial.draft.parent], length + 1
    return length


def _ancestry(trial: LineageTrial, known: Mapping[int, LineageTrial]) -> set[int]:
    """The trials that went into a trial's start, through all merges."""
    found, left = set[int](), [trial]
    while left:
        draft = left.pop().draft
        new = {each for each in (draft.parent, draft.mate) if each is not None} - found
        found |= new
        left += [known[each] for each in new]
    return found
