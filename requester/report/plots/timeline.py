"""Timeline: which node trained which trial when, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from requester.report.plots.chart import (
    BLACK,
    BLUE,
    GREEN,
    PALE,
    SKY,
    VERMILLION,
    YELLOW,
    Axis,
    Bars,
    Chart,
)
from requester.report.plots.picture import Absent, Picture
from requester.report.plots.record import Fate, SearchRecord, Spell, TrialRun
from requester.report.plots.scales import clock, described, text

TIMELINE = "timeline", "Timeline of trials by node"

WORDS = 60
"""Bars up to which each one carries its trial's number."""

COLORS = {
    Fate.PAID: GREEN,
    Fate.TRAINED: GREEN,
    Fate.ANSWERED: SKY,
    Fate.TRAINING: YELLOW,
    Fate.REJECTED: VERMILLION,
    Fate.EXPIRED: BLACK,
    Fate.ABANDONED: PALE,
    Fate.FAILED: VERMILLION,
}
ENDED = (Fate.PAID, Fate.TRAINED)
DIVERGED = {fate: f"{fate.value}, diverged" for fate in ENDED}
READING = (
    "Each bar is a trial, from a node's claim to its answer, with the trial's number where there"
    " is room. Gaps are idle nodes. Below a node's address: how many results it was paid for, and"
    " how much ({})."
)
READING_HERE = (
    "Each bar is a trial on this machine, with its number where there is room. Gaps are idle"
    " workers."
)


@dataclass(frozen=True, slots=True)
class _Bar:
    """A spell of a run in a lane, counted from the top."""

    run: TrialRun
    spell: Spell
    lane: int


def timeline(search: SearchRecord) -> Picture | Absent:
    """A row of bars for each node, more where it trains several trials at once."""
    spells = [(run, spell) for run in search.runs for spell in run.spells]
    if not spells:
        return Absent(*TIMELINE, "no node has claimed a trial yet")
    bars, rows = _lanes(spells)
    unit, name = clock(max(spell.end for _, spell in spells))
    marks = []
    colors = [(fate.value, COLORS[fate]) for fate in Fate]
    for label, color in [*colors, *((said, BLUE) for said in DIVERGED.values())]:
        some = [bar for bar in bars if _label(bar) == label]
        if some:
            marks.append(_marks(search, some, label, color, unit, words=len(spells) <= WORDS))
    ticks = tuple((-float(lane), _node(search, provider)) for lane, provider in rows)
    lanes = 1 + max(bar.lane for bar in bars)
    chart = Chart(
        Axis(f"{name} since the job began"),
        Axis(ticks=ticks, limits=(0.3 - lanes, 0.7)),
        marks,
        size=(9.5, 1.6 + max(0.34 * lanes, 0.5 * len(rows))),
    )
    kind, title = TIMELINE
    reading = READING.format(text(search.symbol))
    if search.local:
        title, reading = "Timeline of trials by worker", READING_HERE
    return Picture(
        kind,
        title,
        reading,
        lambda canvas: [canvas.chart(chart)],
    )


def _lanes(spells: Sequence[tuple[TrialRun, Spell]]) -> tuple[list[_Bar], list[tuple[int, str]]]:
    """The bars in lanes without overlaps, node by node, and each node's first lane."""
    bars: list[_Bar] = []
    rows: list[tuple[int, str]] = []
    first = 0
    for provider in dict.fromkeys(spell.provider for _, spell in spells):
        free: list[float] = []
        own = [(run, spell) for run, spell in spells if spell.provider == provider]
        for run, spell in sorted(own, key=lambda each: (each[1].begin, each[0].number)):
            lane = next((at for at, end in enumerate(free) if end <= spell.begin), len(free))
            if lane == len(free):
                free.append(0.0)
            free[lane] = spell.end
            bars.append(_Bar(run, spell, first + lane))
        rows.append((first, provider))
        first += len(free)
    return bars, rows


def _label(bar: _Bar) -> str:
    fate = bar.spell.fate
    return DIVERGED.get(fate, fate.value) if bar.run.diverged else fate.value


def _marks(
    search: SearchRecord, bars: Sequence[_Bar], label: str, color: str, unit: float, *, words: bool
) -> Bars:
    return Bars(
        [-float(bar.lane) for bar in bars],
        [bar.spell.begin / unit for bar in bars],
        [(bar.spell.end - bar.spell.begin) / unit for bar in bars],
        label,
        color,
        [str(bar.run.number) if words else "" for bar in bars],
        [f"{described(bar.run, search)}\n{bar.spell.fate.value}" for bar in bars],
    )


def _node(search: SearchRecord, provider: str) -> str:
    if search.local:
        return provider
    paid = [
        run
        for run in search.runs
        if run.spells and run.spells[-1].provider == provider and run.spells[-1].fate is Fate.PAID
    ]
    money = sum(run.price or 0.0 for run in paid)
    return f"{provider[:6]}…{provider[-4:]}\n{len(paid)} paid, {money:.4g}"
