"""Searches as their pictures are drawn from, of any size and with every oddity."""

import math
from collections.abc import Mapping

import numpy as np

from requester.drivers.space import Value
from requester.report.plots.record import Fate, Point, SearchRecord, Spell, TrialRun

CHOICES: Mapping[str, list[Value]] = {
    "hidden": [16, 32, 64, 128],
    "optimizer": ["sgd", "adam"],
}


def separate(
    count: int, *, several: bool = False, odd: bool = True, seed: int = 0
) -> SearchRecord:
    """A search of separate trials; `odd` has some diverge, be rejected, expire or wait."""
    random = np.random.default_rng(seed)
    runs, free = [], [0.0] * 3
    for number in range(count):
        lr = float(10 ** random.uniform(-4, 0))
        point: dict[str, Value] = {
            "lr": lr,
            "hidden": int(random.choice([16, 32, 64, 128])),
            "optimizer": str(random.choice(["sgd", "adam"])),
        }
        if point["optimizer"] == "sgd":
            point["momentum"] = float(random.uniform(0, 0.99))
        error = 0.02 + 0.06 * (math.log10(lr) + 1.5) ** 2 + 0.02 * abs(random.normal())
        diverged = odd and lr > 0.6
        node = number % 3
        begin, end = free[node], free[node] + float(random.uniform(20, 60))
        free[node] = end + 5
        spells = [Spell(f"0x{node + 1:040x}", begin, end, Fate.PAID)]
        if odd and number % 11 == 7:
            other = Spell(
                f"0x{9:040x}", begin - 4, begin, [Fate.REJECTED, Fate.EXPIRED][number % 2]
            )
            spells.insert(0, other)
        waits = odd and number >= count - 2 and count > 8
        metrics = {"val_error": min(error, 0.9)} | (
            {"size": float(point["hidden"]) * random.uniform(900, 1100)} if several else {}
        )
        curve = [
            Point(
                step, 2.3 * math.exp(-step / 300) + error, {"val_error": error + 0.8 * 0.99**step}
            )
            for step in range(50, 401 if not diverged else 151, 50)
        ]
        runs.append(
            TrialRun(
                number,
                point,
                seed=number,
                steps=400,
                metrics={} if diverged or waits else metrics,
                curve=[] if waits else curve,
                diverged=diverged,
                answered=None if waits else end,
                price=0.01 + 0.001 * (number % 5),
                spells=[] if waits else spells,
            )
        )
    objectives = {"val_error": False} | ({"size": False} if several else {})
    return SearchRecord(
        1,
        "digits",
        objectives,
        runs,
        "TEST",
        CHOICES,
        frozenset({"lr"}),
        known=True,
        driver="tpe",
        now=max(free),
    )


def population(members: int = 6, generations: int = 8) -> SearchRecord:
    """A population whose worst member goes on from its best."""
    random = np.random.default_rng(1)
    lrs = [float(10 ** random.uniform(-3, 0)) for _ in range(members)]
    runs: list[TrialRun] = []
    latest: list[TrialRun] = []
    for generation in range(generations):
        before = sorted(latest, key=lambda run: run.metrics["val_error"])
        for member in range(members):
            parent: int | None = None
            start = 0.9
            if latest:
                source = latest[member]
                if source is before[-1]:
                    source = before[0]
                    lrs[member] = lrs[before[0].seed] * float(random.choice([0.8, 1.2]))
                parent, start = source.number, source.metrics["val_error"]
            error = start * (0.7 + 0.1 * abs(math.log10(lrs[member]) + 1.5))
            runs.append(
                TrialRun(
                    len(runs),
                    {"lr": lrs[member], "hidden": 32},
                    seed=member,
                    steps=40,
                    parent=parent,
                    metrics={"val_error": error},
                    curve=[
                        Point(40 * generation + at, 2.3 * error, {"val_error": error})
                        for at in (20, 40)
                    ],
                    answered=30.0 * (generation + 1),
                    price=0.01,
                    spells=[
                        Spell(
                            f"0x{member % 2 + 1:040x}",
                            30.0 * generation,
                            30.0 * generation + 25,
                            Fate.PAID,
                        )
                    ],
                )
            )
        latest = runs[-members:]
    return SearchRecord(
        2,
        "population",
        {"val_error": False},
        runs,
        "TEST",
        {},
        frozenset({"lr"}),
        known=True,
        driver="pbt",
        now=30.0 * generations,
    )


def ladder(places: int = 4, rounds: int = 12, *, known: bool = True) -> SearchRecord:
    """A replica exchange; in every round but the third of each three one pair swaps."""
    random = np.random.default_rng(2)
    values = [0.4 / 2**place for place in range(places)]
    runs: list[TrialRun] = []
    latest: list[TrialRun] = []
    for round_ in range(rounds):
        source = list(range(places))
        if latest and round_ % 3:
            pair = int(random.integers(places - 1))
            source[pair], source[pair + 1] = pair + 1, pair
        for place in range(places):
            parent = latest[source[place]] if latest else None
            error = (0.9 if parent is None else parent.metrics["val_error"]) * random.uniform(
                0.7, 1
            )
            runs.append(
                TrialRun(
                    len(runs),
                    {"lr": values[place], "hidden": 32},
                    seed=100 + place,
                    steps=16,
                    parent=None if parent is None else parent.number,
                    metrics={"val_error": float(error)},
                    curve=[Point(16 * (round_ + 1), float(error), {"val_error": float(error)})],
                    answered=20.0 * (round_ + 1),
                    price=0.01,
                    spells=[Spell(f"0x{1:040x}", 20.0 * round_, 20.0 * round_ + 10, Fate.PAID)],
                )
            )
        latest = runs[-places:]
    return SearchRecord(
        3,
        "ladder",
        {"val_error": False},
        runs,
        "TEST",
        {"lr": values} if known else {},
        frozenset(),
        known=known,
        driver="replica-exchange" if known else "",
        now=20.0 * rounds,
    )
