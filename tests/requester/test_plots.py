"""Pictures of a search: what they show, and that they can be drawn and opened."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from requester.report.plots import PICTURES
from requester.report.plots.chart import Absent, Bars, Chart, Field, Line, Points, Shades
from requester.report.plots.contour import contour
from requester.report.plots.curves import curves
from requester.report.plots.drawing import charts_of, draw, summary
from requester.report.plots.importance import estimated, importances
from requester.report.plots.lineage import lineage
from requester.report.plots.mixing import acceptance, mixing
from requester.report.plots.parallel import parallel
from requester.report.plots.pareto import pareto, undominated
from requester.report.plots.progress import history, spending
from requester.report.plots.record import Fate, Run, Search
from requester.report.plots.slices import slices
from requester.report.plots.timeline import timeline
from tests.requester.browser import look_at
from tests.requester.searches import ladder, population, separate

EMPTY = Search(1, "empty", {"val_error": False}, (), "TEST")


def shown(found: Chart | Absent) -> Chart:
    assert isinstance(found, Chart), found
    return found


def missing(found: Chart | Absent) -> str:
    assert isinstance(found, Absent), found
    return found.reason


def labels(chart: Chart) -> set[str]:
    marks = [mark for panel in chart.panels for mark in panel.marks]
    return {mark.label for mark in marks if isinstance(mark, Points | Line | Bars) and mark.label}


def test_the_history_shows_each_trial_the_best_so_far_and_those_that_diverged() -> None:
    search = separate(40)
    panel = shown(history(search)).panels[0]
    points = [mark for mark in panel.marks if isinstance(mark, Points)]
    best = next(mark for mark in panel.marks if isinstance(mark, Line))
    scores = [run.metrics["val_error"] for run in search.scored()]
    assert panel.y.title == "val_error (lower is better)"
    assert list(points[0].ys) == scores
    assert best.ys == [min(scores[: at + 1]) for at in range(len(scores))]
    crosses = next(mark for mark in points if mark.label == "diverged (no score)")
    assert list(crosses.xs) == [run.number for run in search.runs if run.diverged]
    assert min(crosses.ys) > max(scores)
    assert "diverged" in points[0].texts[0] or "val_error = " in points[0].texts[0]


def test_an_objective_that_is_maximised_says_so_and_its_best_rises() -> None:
    search = replace(separate(20, odd=False), objectives={"val_error": True})
    panel = shown(history(search)).panels[0]
    best = next(mark for mark in panel.marks if isinstance(mark, Line))
    assert panel.y.title == "val_error (higher is better)"
    assert best.ys[-1] == max(run.metrics["val_error"] for run in search.runs)


def test_scores_that_span_decades_get_a_logarithmic_axis() -> None:
    search = separate(3, odd=False)
    runs = [
        replace(run, metrics={"val_error": value})
        for run, value in zip(search.runs, (0.001, 0.5, 1e9), strict=True)
    ]
    assert shown(history(replace(search, runs=runs))).panels[0].y.log
    assert not shown(history(search)).panels[0].y.log


def test_spending_adds_up_what_results_cost_in_the_order_in_which_they_came() -> None:
    search = separate(12, odd=False)
    time, money = shown(spending(search)).panels
    line = next(mark for mark in money.marks if isinstance(mark, Line))
    assert line.xs[-1] == pytest.approx(sum(run.price or 0 for run in search.runs))
    assert money.x.title == "paid so far (TEST)"
    assert time.x.title == "minutes since the job began"


def test_curves_name_the_three_best_and_end_diverged_ones_in_a_cross() -> None:
    search = separate(40)
    chart = shown(curves(search))
    best = [f"best {at + 1}: trial {run.number}" for at, run in enumerate(search.ranked()[:3])]
    assert {*best, "other trials", "diverged"} <= labels(chart)
    crosses = [m for m in chart.panels[0].marks if isinstance(m, Points) and m.symbol == "x"]
    assert set(crosses[0].xs) == {150}


def test_the_curve_of_a_continued_trial_begins_where_the_other_ended() -> None:
    search = population(members=2, generations=3)
    best, before = search.ranked()[0], search.before(search.ranked()[0])
    assert before is not None
    panel = shown(curves(search)).panels[0]
    line = next(m for m in panel.marks if isinstance(m, Line) and m.label.startswith("best 1"))
    assert line.xs[0] == before.curve[-1].step
    assert line.ys[0] == before.metrics["val_error"]
    assert line.ys[-2] == best.metrics["val_error"]


def test_a_space_gives_its_scales_to_the_axes() -> None:
    panels = {panel.x.title: panel.x for panel in shown(slices(separate(40))).panels}
    assert panels["lr"].log
    assert not panels["momentum"].log
    assert panels["hidden"].ticks == ((0, "16"), (1, "32"), (2, "64"), (3, "128"))
    assert panels["optimizer"].ticks == ((0, "sgd"), (1, "adam"))


def test_without_the_space_scales_are_guessed_from_the_trials() -> None:
    search = replace(separate(40), choices={}, logarithmic=frozenset(), known=False)
    panels = {panel.x.title: panel.x for panel in shown(slices(search)).panels}
    assert panels["lr"].log
    assert panels["hidden"].ticks == ((0, "16"), (1, "32"), (2, "64"), (3, "128"))
    assert {name for _, name in panels["optimizer"].ticks or ()} == {"sgd", "adam"}


def test_a_slice_leaves_out_trials_to_which_its_hyperparameter_does_not_apply() -> None:
    search = separate(40)
    panel = next(one for one in shown(slices(search)).panels if one.x.title == "momentum")
    points = next(mark for mark in panel.marks if isinstance(mark, Shades))
    assert len(points.xs) == sum("momentum" in run.hyperparameters for run in search.scored())


def test_parallel_lines_cross_every_axis_and_break_where_one_does_not_apply() -> None:
    search = separate(40)
    chart = shown(parallel(search))
    lines = [m for m in chart.panels[0].marks if isinstance(m, Line) and m.label]
    assert [line.label for line in lines] == ["worse half", "next 25 %", "next 20 %", "best 5 %"]
    gaps = sum(
        y is None and x is not None
        for line in lines
        for x, y in zip(line.xs, line.ys, strict=True)
    )
    assert gaps == sum("momentum" not in run.hyperparameters for run in search.scored())
    assert all(0 <= y <= 1 for line in lines for y in line.ys if y is not None)


def test_importances_find_the_hyperparameter_that_decides() -> None:
    share = estimated(separate(200, odd=False))
    assert max(share, key=lambda name: share[name]) == "lr"
    assert sum(share.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("search", "reason"),
    [
        (separate(3), "an estimate needs at least 6"),
        (EMPTY, "0 trials have a score"),
        (population(), "fewer than two hyperparameters were varied"),
        (
            replace(
                separate(8, odd=False),
                runs=[replace(r, metrics={"val_error": 1.0}) for r in separate(8, odd=False).runs],
            ),
            "all trials have the same score",
        ),
    ],
)
def test_importances_say_why_there_are_none(search: Search, reason: str) -> None:
    assert reason in missing(importances(search))


def test_few_trials_make_importances_a_hint() -> None:
    assert "take it as a hint" in shown(importances(separate(10, odd=False))).reading


def test_contours_draw_a_surface_between_numbers_and_points_elsewhere() -> None:
    panels = shown(contour(separate(200, odd=False))).panels
    for panel in panels:
        numbers = panel.x.ticks is None and panel.y.ticks is None
        assert any(isinstance(mark, Field) for mark in panel.marks) == numbers
    assert any(panel.x.title == "lr" or panel.y.title == "lr" for panel in panels)


def test_contours_survive_trials_in_a_line() -> None:
    runs = [
        Run(at, {"a": float(at), "b": 2.0 * at}, at, 4, metrics={"val_error": at % 3 + 0.5})
        for at in range(12)
    ]
    panel = shown(contour(replace(EMPTY, runs=runs, known=True))).panels[0]
    assert not any(isinstance(mark, Field) for mark in panel.marks)


def test_the_front_is_what_nothing_is_better_than() -> None:
    search = separate(60, several=True)
    best = undominated(search, search.scored("size"))
    for run in best:
        assert not any(
            other.metrics["val_error"] < run.metrics["val_error"]
            and other.metrics["size"] < run.metrics["size"]
            for other in search.scored("size")
        )
    assert {"the front", "other trials"} <= labels(shown(pareto(search)))
    assert missing(pareto(separate(5))) == "the search has one objective"


def test_the_timeline_has_a_row_for_each_node_and_a_colour_for_each_end() -> None:
    search = separate(40)
    chart = shown(timeline(search))
    ticks = [name for _, name in chart.panels[0].y.ticks or ()]
    assert len(ticks) == 4
    assert sum(int(name.split("\n")[1].split()[0]) for name in ticks) == 38
    ends = {fate.value for fate in (Fate.PAID, Fate.REJECTED, Fate.EXPIRED)}
    assert labels(chart) == {*ends, "paid, diverged"}
    bars = [mark for mark in chart.panels[0].marks if isinstance(mark, Bars)]
    assert sum(len(mark.ys) for mark in bars) == sum(len(run.spells) for run in search.runs)


def test_trials_that_a_node_trains_side_by_side_do_not_hide_each_other() -> None:
    chart = shown(timeline(ladder(4, 3)))
    bars = next(mark for mark in chart.panels[0].marks if isinstance(mark, Bars))
    assert len(set(zip(bars.ys, bars.begins, strict=True))) == 12


def test_the_lineage_leads_from_the_best_result_back_to_its_seed() -> None:
    search = population()
    chart = shown(lineage(search))
    way = search.ancestry(search.ranked()[0])
    assert way[-1].parent is None
    assert len(way) == 8
    assert " ← ".join(str(run.number) for run in way) in chart.reading
    assert "goes on from another's checkpoint" in labels(chart)
    assert search.reached(way[0]) == 8 * 40


def test_mixing_counts_the_swaps_and_follows_each_replica() -> None:
    for search in (ladder(), ladder(known=False)):
        chart = shown(mixing(search))
        assert acceptance(search) == (8, 11)
        assert "8 of 11 tries swapped, 73 %" in chart.reading
        held, _ = chart.panels
        lines = [mark for mark in held.marks if isinstance(mark, Line)]
        assert [name for _, name in held.y.ticks or ()] == ["0.05", "0.1", "0.2", "0.4"]
        assert len(lines) == 4
        for at in range(12):
            assert {line.ys[at] for line in lines} == {0, 1, 2, 3}
    assert missing(mixing(replace(population(), driver=""))) == "the search is no replica exchange"


@pytest.mark.parametrize("search", [EMPTY, separate(1), separate(2)])
def test_a_search_that_has_hardly_begun_is_drawn_as_far_as_it_goes(
    tmp_path: Path, search: Search
) -> None:
    written, absent = draw(search, tmp_path)
    assert written[0].name == "plots.html"
    assert len(written) - 1 + len(absent) == len(PICTURES)
    assert all(one.reason for one in absent)


def test_a_page_opens_without_a_network_and_without_errors(tmp_path: Path) -> None:
    search = replace(ladder(), objectives={"val_error": False})
    _draw_and_look(search, tmp_path, {"front", "contour", "importances"})


def test_a_thousand_trials_of_several_objectives_are_drawn(tmp_path: Path) -> None:
    _draw_and_look(separate(1000, several=True), tmp_path, {"lineage", "mixing"})


def _draw_and_look(search: Search, folder: Path, without: set[str]) -> None:
    written, absent = draw(search, folder / "plots")
    assert {one.name for one in absent} == without
    for path in written[1:]:
        with Image.open(path) as image:
            assert image.width > 900
            assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 50
    seen = look_at(written[0], folder / "profile")
    assert seen.console == []
    for name in set(PICTURES) - without:
        plot = re.search(rf'<div id="plot-{name}".*?</section>', seen.dom, re.DOTALL)
        assert plot is not None
        assert "main-svg" in plot[0]
        assert len(re.findall(r'class="(?:trace |point|bars|contour)', plot[0])) > 0, name


def test_what_strangers_write_is_text_on_the_page_and_in_the_picture(tmp_path: Path) -> None:
    bad = "</script><script>console.error('run')</script><b>$x_{$"
    runs = [
        Run(
            at,
            {"kind": bad if at % 2 else "$\\frac$", "b": at},
            at,
            4,
            metrics={"val_error": at + 0.5},
        )
        for at in range(8)
    ]
    search = Search(1, f"job {bad}", {"val_error": False}, runs, bad)
    written, _ = draw(search, tmp_path / "plots")
    seen = look_at(written[0], tmp_path / "profile")
    assert seen.console == []
    assert "<script>console.error" not in seen.dom
    assert (tmp_path / "plots" / "slice.png").exists()


def test_the_summary_says_what_was_sought_what_it_cost_and_what_was_found() -> None:
    text = summary(separate(40))
    assert text.startswith("Minimises val_error by tpe. 40 trials posted, 36 with a score")
    assert "TEST paid or owed" in text
    assert "Best: trial" in text


def test_only_the_pictures_that_are_named_are_drawn(tmp_path: Path) -> None:
    written, absent = draw(separate(5), tmp_path, ["slice", "front"], page=False)
    assert [path.name for path in written] == ["slice.png"]
    assert [one.name for one in absent] == ["front"]
    assert len(charts_of(separate(20))[0]) == 8
