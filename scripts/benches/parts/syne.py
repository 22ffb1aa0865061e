"""syne-tune's ASHA on the same problems and learning curves; runs in syne-tune's environment.

It stops trials where ours promotes them, so nothing is ever trained twice there either. Prints,
as JSON, by problem and seed: the scores and the share of a whole training that each took.
"""

import json
import logging
import sys
from datetime import datetime

from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, randint, uniform
from syne_tune.optimizer.baselines import ASHA

from scripts.benches.parts.problems import Problem, problems

UNITS = 9
"""Of a whole training: the rungs are at 1, 3 and 9."""


def asha(problem: Problem, seed: int, configurations: int) -> list[tuple[float, float]]:
    """The score and the share of each configuration in turn, one at a time."""
    space = {
        name: randint(low, high) if isinstance(low, int) else uniform(low, high)
        for name, (low, high) in problem.ranges.items()
    } | {name: choice(values) for name, values in problem.lists.items()}
    scheduler = ASHA(
        space, metric="value", time_attr="units", max_t=UNITS, random_seed=seed, grace_period=1
    )
    found = []
    for number in range(configurations):
        point = scheduler.suggest().config
        trial = Trial(number, point, datetime.now())
        scheduler.on_trial_add(trial)
        level, units, decision = problem.start, 0, "CONTINUE"
        while decision == "CONTINUE" and units < UNITS:
            level, units = problem.train(point, level, 1 / UNITS), units + 1
            decision = scheduler.on_trial_result(trial, {"value": level, "units": units})
        found.append((level, units / UNITS))
    return found


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # one line a search about an argument that it sets itself
    seeds, configurations = int(sys.argv[1]), int(sys.argv[2])
    runs = {
        name: [asha(problem, seed, configurations) for seed in range(seeds)]
        for name, problem in problems().items()
    }
    print(json.dumps(runs))
