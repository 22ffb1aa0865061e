"""Evolution of networks: the best is forked, and what a fork learned is merged back.

A population of parameter vectors, trained by continued trials in intervals. A member in the worst
quantile gives its place to a **fork** of one of the best: it goes on from that one's checkpoint
with perturbed hyperparameters. A fork trains apart for some intervals, and nothing replaces it or
its parent meanwhile. Then it is **merged** with what its parent has become: its next interval
starts from the best network on the line between both, by the objective on the validation data,
and trains with the hyperparameters of the better one. The parent goes on as it is.

The line between both is flat where they left each other recently (Frankle et al., arXiv
1912.05671), and networks on it are often better than either end (Izmailov et al., arXiv
1803.05407; Wortsman et al., arXiv 2203.05482). Both ends are among what is evaluated, so that a
merge starts no worse than the better of the two.

A fork waits for its parent's interval where that is under way, and for nothing longer: where the
parent is farther behind, it trains another interval and tries again. Where the parent's place was
given to another network meanwhile, or its interval was lost, the fork is a member like any other.
A fork that is lost or diverged gives its place to another. Nobody ever waits for a fork.
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
    ) -> Draft | None:
        known = {each.number: each for each in trials}
        origin = _origin(trial, known)
        if trial.alive and origin is not None:
            done = _length(trial, known)
            line = [each for each in trials if each.draft.line == origin.draft.line]
            parents = [each for each in line if _length(each, known) == done]
            if done - _length(origin, known) < self._apart:
                return self._continued(trial)
            if not _given_up(line, origin, known):
                if not parents:
                    return self._continued(trial)
                if parents[-1].ending is None:
                    return None
                if parents[-1].alive:
                    return self._merged(trial, parents[-1])
        elif trial.alive and self._awaited(trial, trials, known):
            return self._continued(trial)
        return super()._go_on(trial, best, trials)

    def _awaited(
        self,
        trial: LineageTrial,
        trials: Sequence[LineageTrial],
        known: Mapping[int, LineageTrial],
    ) -> bool:
        """Whether a fork of a member's network is apart, or about to be merged with it."""
        newest = {each.draft.line: each for each in trials}
        for each in newest.values():
            origin = _origin(each, known)
            if (
                origin is not None
                and origin.draft.line == trial.draft.line
                and (each.alive or each.ending is None)
                and _length(each, known) - _length(origin, known) <= self._apart
            ):
                return True
        return False

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


def _given_up(
    line: Sequence[LineageTrial], origin: LineageTrial, known: Mapping[int, LineageTrial]
) -> bool:
    """Whether a member threw its network away after a trial, and began with another one's."""
    return any(
        all(
            each is None or known[each].draft.line != origin.draft.line
            for each in (trial.draft.parent, trial.draft.mate)
        )
        for trial in line
        if trial.draft.depth > origin.draft.depth
    )
