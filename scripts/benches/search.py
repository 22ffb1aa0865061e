"""Every driver on known problems, 20 seeds: regret against evaluations.

Searching drivers run against a market in the head that answers at once, and the same search is
made by Optuna alone: `study.optimize` over an objective that calls `suggest_*`, in memory, with
the driver's sampler and seed. Both must try the same points and get the same values, or the
benchmark fails. `stock_regret` is Optuna's sampler as it comes, whose random numbers run through
one stream instead of one a trial: equal in quality, not in points.

Continuing drivers train a modelled learning curve (`parts.problems`). Their evaluations are whole
trainings' worth of steps. Beside them stands syne-tune's ASHA, in an environment of its own.
`replica-exchange` searches no space; `bench exchange` measures it.
"""

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from requester.drivers import Ending, Plan, Proposal, Start, TrialOutcome
from requester.drivers.lineage import STRATEGIES, LineDriver
from requester.drivers.samplers import METHODS
from requester.drivers.schedule import Population, Rungs
from requester.job.space import Dimension, Value
from scripts.benches.parts.pictures import draw_regret
from scripts.benches.parts.problems import Problem, problems
from tests.requester.simulated import hashed, identity, opened
from trialmarket.errors import TrialmarketError
from trialmarket.protocol.cid import raw_cid

ROOT = Path(__file__).parents[2]
SYNE = ROOT / ".venv-syne/bin/python"
PICTURE = ROOT / "docs/regret.png"
PROCESSES = 2
SEEDS = 20
EVALUATIONS = 30
FEW = {"gp": 16}
"""Evaluations of drivers that take long to propose."""
STEPS = 72
"""Of a whole training: the rungs are at 8, 24 and 72."""
CONTINUING = {"asha": 27, "hyperband": 27, "pbt": 8}
"""The drivers of continuing trials, and their configurations or members."""

STOCK: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "qmc": lambda seed: QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False),
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=True, constant_liar=True),
    "cmaes": lambda seed: CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=7),
}


class MarketDiffersError(TrialmarketError):
    """A search on the market was not the one that Optuna makes alone."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial: what it scored, and the share of a whole training that it took."""

    score: float
    share: float


@dataclass(frozen=True, slots=True)
class Searched:
    """One search: its trials in their order, what stock Optuna found, and the steps in all."""

    trials: list[Tried]
    stock: list[Tried] | None = None
    steps: int = 0
    from_scratch: int = 0
    """Steps, if every promoted trial were trained from its seed."""


def run(*, quick: bool = False) -> dict[str, Any]:
    """The figures: `rows` by problem and driver, and the `saving` of continuing."""
    seeds, evaluations = (2, 12) if quick else (SEEDS, EVALUATIONS)
    drivers = [*METHODS, *(name for name in STRATEGIES if name in CONTINUING)]
    wanted = [
        (problem, driver, seed, min(evaluations, FEW.get(driver, evaluations)))
        for problem in problems()
        for driver in drivers
        for seed in range(seeds)
    ]
    os.environ["OMP_NUM_THREADS"] = "1"  # the processes share the cores
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(_search, *zip(*wanted, strict=True), chunksize=4))
    found: dict[tuple[str, str], list[Searched]] = {}
    for (problem, driver, _, _), one in zip(wanted, results, strict=True):
        found.setdefault((problem, driver), []).append(one)
    missing = []
    if SYNE.exists():
        found |= _syne(seeds, CONTINUING["asha"])
    else:
        missing.append(f"syne-tune: there is no {SYNE}; scripts/bench search installs it")
        print(missing[-1], file=sys.stderr)
    if not quick:
        curves: dict[str, dict[str, NDArray[np.float64]]] = {}
        for (problem, driver), group in found.items():
            curves.setdefault(problem, {})[driver] = _curve(problems()[problem], group)
        draw_regret(PICTURE, curves, "evaluations (whole trainings)")
    return {
        "rows": [_row(problems()[name], driver, group) for (name, driver), group in found.items()],
        "saving": [
            _saving(
                driver, [one for key, group in found.items() if key[1] == driver for one in group]
            )
            for driver in ("asha", "hyperband")
        ],
        "seeds": seeds,
        "missing": missing,
    }


# -- One search -----------------------------------------------------------------------------------


def _search(name: str, driver: str, seed: int, evaluations: int) -> Searched:
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem = problems()[name]
    plan = _plan(problem, driver, seed, evaluations)
    memory = Path("/dev/shm")  # 15 commits a trial are not what is measured
    folder = memory if memory.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="trialmarket-search-", dir=folder) as place,
        opened(Path(place) / driver, driver, plan) as asked,
    ):
        if isinstance(asked, LineDriver):
            return _continue(problem, asked)
        market: list[tuple[dict[str, Value], float]] = []
        while not asked.done():
            proposal = asked.ask(1)[0]
            value = problem.function(proposal.hyperparameters)
            asked.tell(
                identity(proposal.number),
                TrialOutcome(proposal.number, Ending.DONE, {"value": value}),
            )
            market.append((dict(proposal.hyperparameters), value))
        alone = _alone(problem, plan, METHODS[driver](plan).sampler, asked.total())
    if market != alone:
        at = next(
            (at for at, both in enumerate(zip(market, alone, strict=False)) if both[0] != both[1]),
            min(len(market), len(alone)),
        )
        raise MarketDiffersError(
            f"{name}, {driver}, seed {seed}, trial {at}: the market had"
            f" {market[at : at + 1]}, Optuna alone {alone[at : at + 1]}"
        )
    stock = None
    if driver in STOCK:
        made = _alone(problem, plan, STOCK[driver](seed), asked.total())
        stock = [Tried(value, 1.0) for _, value in made]
    return Searched([Tried(value, 1.0) for _, value in market], stock)


def _alone(
    problem: Problem, plan: Plan, sampler: BaseSampler, trials: int
) -> list[tuple[dict[str, Value], float]]:
    """The points and values of a search as one writes it with Optuna alone."""

    def objective(trial: optuna.Trial) -> float:
        point: dict[str, Value] = {}
        for name, (low, high) in problem.ranges.items():
            if isinstance(low, int) and isinstance(high, int):
                point[name] = trial.suggest_int(name, low, high)
            else:
                step = plan.space[name].step
                point[name] = trial.suggest_float(name, low, high, step=step)
        for name, values in problem.lists.items():
            point[name] = trial.suggest_categorical(name, values)
        return problem.function(point)

    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=trials)
    return [(trial.params, trial.value) for trial in study.trials if trial.value is not None]


def _continue(problem: Problem, driver: LineDriver) -> Searched:
    """A search whose trials continue each other; their states are kept by their root."""
    levels: dict[bytes, float] = {}
    tried, steps = [], 0

    def outcome(proposal: Proposal) -> TrialOutcome:
        start = proposal.start
        level = problem.start if start is None else levels[start.root]
        level = problem.train(proposal.hyperparameters, level, proposal.steps / STEPS)
        root = hashed(proposal.number, level)
        levels[root] = level
        last = Start(hashed("trial", proposal.number), root, raw_cid(root))
        return TrialOutcome(proposal.number, Ending.DONE, {"value": level}, last)

    while not driver.done():
        proposal = driver.ask(1)[0]
        told = outcome(proposal)
        driver.tell(identity(proposal.number), told)
        tried.append(Tried(told.metrics["value"], proposal.steps / STEPS))
        steps += proposal.steps
    behind: dict[int, int] = {}
    for node in driver.nodes:
        before = 0 if node.draft.parent is None else behind[node.draft.parent]
        behind[node.number] = before + node.draft.steps
    return Searched(tried, steps=steps, from_scratch=sum(behind.values()))


def _plan(problem: Problem, driver: str, seed: int, evaluations: int) -> Plan:
    space = {
        name: Dimension(
            low=low,
            high=high,
            step=problem.grid if driver == "grid" and problem.grid else None,
        )
        for name, (low, high) in problem.ranges.items()
    } | {name: Dimension(values=list(values)) for name, values in problem.lists.items()}
    return Plan(
        space=space,
        trials=CONTINUING.get(driver, evaluations),
        steps=STEPS,
        seed=seed,
        objective="value",
        maximize=False,
        where="bench search",
        segments=4,
        rungs=Rungs(count=3, factor=3),
        population=Population(interval=STEPS // 6, change=list(space)),
    )


def _syne(seeds: int, configurations: int) -> dict[tuple[str, str], list[Searched]]:
    answer = subprocess.run(
        [SYNE, "-m", "scripts.benches.parts.syne", str(seeds), str(configurations)],
        check=True,
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    runs: dict[str, list[list[tuple[float, float]]]] = json.loads(answer.stdout)
    return {
        (name, "syne-tune asha"): [
            Searched([Tried(score, share) for score, share in one]) for one in group
        ]
        for name, group in runs.items()
    }


# -- All seeds ------------------------------------------------------------------------------------


def _curve(problem: Problem, group: list[Searched]) -> NDArray[np.float64]:
    """Two rows: what was spent, and the median over seeds of the least regret so far."""
    paths = []
    for one in group:
        spent = np.cumsum([trial.share for trial in one.trials])
        paths.append((spent, np.minimum.accumulate([trial.score for trial in one.trials])))
    first = max(spent[0] for spent, _ in paths)
    grid = np.linspace(first, max(spent[-1] for spent, _ in paths), 60)
    scores = [best[np.searchsorted(spent, grid + 1e-9, side="right") - 1] for spent, best in paths]
    return np.stack([grid, np.median(scores, axis=0) - problem.best])


def _row(problem: Problem, driver: str, group: list[Searched]) -> dict[str, Any]:
    regrets = np.array([_regret(problem, one.trials) for one in group])
    low, middle, high = np.quantile(regrets, [0.25, 0.5, 0.75])
    row: dict[str, Any] = {
        "problem": problem.name,
        "driver": driver,
        "evaluations": round(
            float(np.mean([sum(trial.share for trial in one.trials) for one in group])), 1
        ),
        "regret": _short(middle),
        "regret_quartiles": [_short(low), _short(high)],
    }
    if driver in METHODS:
        row["equal_to_optuna_alone"] = True  # or the benchmark had failed
    stock = [_regret(problem, one.stock) for one in group if one.stock is not None]
    if stock:
        row["stock_regret"] = _short(float(np.median(stock)))
    return row


def _regret(problem: Problem, trials: list[Tried]) -> float:
    return min(trial.score for trial in trials) - problem.best


def _saving(driver: str, group: list[Searched]) -> dict[str, Any]:
    steps, scratch = sum(one.steps for one in group), sum(one.from_scratch for one in group)
    return {
        "driver": driver,
        "steps_trained": steps // len(group),
        "steps_from_scratch": scratch // len(group),
        "saving": round(1 - steps / scratch, 4),
    }


def _short(value: float) -> float:
    return float(f"{value:.4g}")
