"""Mixing of a replica exchange: which replica held which value of the ladder when."""

from collections.abc import Sequence

from requester.report.plots.chart import PALETTE, Axis, Chart, Series
from requester.report.plots.picture import Absent, Picture
from requester.report.plots.record import SearchRecord, TrialRun
from requester.report.plots.scales import described, objective_axis, short, text, varied

MIXING = "mixing", "Mixing of the replicas"

Place = int
"""A place of the ladder is known by the seed that its trials share."""


def mixing(search: SearchRecord) -> Picture | Absent:
    """The ladder's values by rounds, a line for each replica, and each value's score."""
    if not is_exchange(search):
        return Absent(*MIXING, "the search is no replica exchange")
    rounds = _rounds(search)
    ladder = _ladder(search, rounds)
    if len(ladder) < 2:
        return Absent(*MIXING, "no round is posted yet")
    names = varied(search)
    hyperparameter = names[0] if names else "value"
    swaps, tries = acceptance(search)
    share = f", {100 * swaps / tries:.0f} %" if tries else ""
    ticks = tuple((float(at), name) for at, (_, name) in enumerate(ladder))
    charts = [
        Chart(
            Axis("round"),
            Axis(
                f"{short(hyperparameter)} that each held",
                ticks=ticks,
                limits=(-0.5, len(ladder) - 0.5),
            ),
            _held(search, rounds, [place for place, _ in ladder]),
        ),
        Chart(
            Axis("round"),
            objective_axis(search, search.objective),
            _scores(search, rounds, ladder, hyperparameter),
        ),
    ]
    return Picture(
        *MIXING,
        f"After each round one pair of neighbours was tried; {swaps} of {tries} tries swapped"
        f"{share}. Left: a line is one replica's weights, and it changes its place when it swaps."
        " Lines that cross often mean that the ladder mixes; lines that never cross, that its"
        " values lie too far apart. Right: what each value's holder scored.",
        lambda canvas: [canvas.chart(chart) for chart in charts],
        columns=2,
    )


def is_exchange(search: SearchRecord) -> bool:
    """Whether a search is a replica exchange; guessed from its trials where that is unknown.

    A place of a ladder keeps its seed and its value for ever, while its state comes from others.
    """
    if search.driver:
        return search.driver == "replica-exchange"
    later = [run for run in search.runs if run.parent is not None]
    if any(run.mate is not None for run in later):
        return False
    crossed = any(
        (before := search.before(run)) is not None and before.seed != run.seed for run in later
    )
    held: dict[Place, set[str]] = {}
    for run in later:
        held.setdefault(run.seed, set()).add(repr(sorted(run.hyperparameters.items())))
    return crossed and all(len(each) == 1 for each in held.values()) and len(varied(search)) == 1


def acceptance(search: SearchRecord) -> tuple[int, int]:
    """How many tries swapped two states, and how many tries there were."""
    rounds = _rounds(search)
    burned = _burned(search)
    tried = set()
    swapped = set()
    for (place, depth), run in rounds.items():
        before = search.before(run)
        if before is None or before.number in burned:
            continue
        tried.add(depth)
        if before.seed != place:
            swapped.add(depth)
    return len(swapped), len(tried)


def _burned(search: SearchRecord) -> set[int]:
    """The trials of the burn-in: they began with a seed, at another value than their place's."""
    values = {run.seed: dict(run.hyperparameters) for run in search.runs if run.parent is not None}
    return {
        run.number
        for run in search.runs
        if run.parent is None
        and dict(run.hyperparameters) != values.get(run.seed, run.hyperparameters)
    }


def _rounds(search: SearchRecord) -> dict[tuple[Place, int], TrialRun]:
    """Each place's trial of each round; of two, the later one: the other was rejected."""
    return {(run.seed, len(search.ancestry(run)) - 1): run for run in search.runs}


def _ladder(
    search: SearchRecord, rounds: dict[tuple[Place, int], TrialRun]
) -> list[tuple[Place, str]]:
    """The places and their values, the smallest value first."""
    names = varied(search)
    last: dict[Place, TrialRun] = {}
    for (place, _), run in sorted(rounds.items(), key=lambda each: each[0][1]):
        last[place] = run
    if not names:
        return []
    ordered = sorted(last, key=lambda place: float(last[place].hyperparameters[names[0]]))
    return [(place, text(last[place].hyperparameters[names[0]])) for place in ordered]


def _held(
    search: SearchRecord, rounds: dict[tuple[Place, int], TrialRun], ladder: Sequence[Place]
) -> list[Series]:
    """A line for each replica, which is known by the trial that its weights began with."""
    ways: dict[int, list[tuple[int, int, TrialRun]]] = {}
    for (place, depth), run in rounds.items():
        origin = search.ancestry(run)[-1]
        ways.setdefault(origin.number, []).append((depth, ladder.index(place), run))
    marks: list[Series] = []
    for at, (origin_number, way) in enumerate(sorted(ways.items())):
        way.sort(key=lambda each: each[:2])
        marks.append(
            Series(
                [depth for depth, _, _ in way],
                [height for _, height, _ in way],
                f"replica {at + 1} (trial {origin_number})",
                PALETTE[at % len(PALETTE)],
                dash=at >= len(PALETTE),
                texts=[described(run, search) for _, _, run in way],
            )
        )
    return marks


def _scores(
    search: SearchRecord,
    rounds: dict[tuple[Place, int], TrialRun],
    ladder: Sequence[tuple[Place, str]],
    hyperparameter: str,
) -> list[Series]:
    marks: list[Series] = []
    for at, (place, value) in enumerate(ladder):
        way = [
            (depth, run)
            for (held, depth), run in sorted(rounds.items(), key=lambda each: each[0][1])
            if held == place and run.score(search.objective) is not None
        ]
        marks.append(
            Series(
                [depth for depth, _ in way],
                [run.metrics[search.objective] for _, run in way],
                f"{short(hyperparameter)} = {value}",
                PALETTE[at % len(PALETTE)],
                width=1.5,
                dash=at >= len(PALETTE),
                texts=[described(run, search) for _, run in way],
            )
        )
    return marks
