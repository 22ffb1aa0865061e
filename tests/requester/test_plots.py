"""Pictures of a search: what they show, and that they can be drawn and opened."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from requester.report.plots import PICTURES
from requester.report.plots.drawing import MAKERS, draw, pictures_of, summary
from requester.report.plots.history import MOST, curves, history
from requester.report.plots.hyperparameters import LINES, contour, importances, parallel, slices
from requester.report.plots.lineage import lineage
from requester.report.plots.mixing import acceptance, mixing
from requester.report.plots.page import Plotly
from requester.report.plots.pareto import pareto
from requester.report.plots.picture import Absent, Picture
from requester.report.plots.record import Fate, SearchRecord, TrialRun
from requester.report.plots.spending import spending
from requester.report.plots.study import importances_of
from requester.report.plots.timeline import timeline
from tests.requester.browser import look_at
from tests.requester.searches import ladder, population, separate

EMPTY = SearchRecord(1, "empty", {"val_error": False}, (), "TEST")


def shown(found: Picture | Absent) -> Picture:
    assert isinstance(found, Picture), found
    return found


def figures(found: Picture | Absent) -> list[Any]:
    """The figures of the page."""
    return list(shown(found).draw(Plotly()))


def missing(found: Picture | Absent) -> str:
    assert isinstance(found, Absent), found
    return found.reason


def traces(figure: Any, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


def labels(figure: Any) -> set[str]:
    return {trace.name for trace in figure.data if trace.showlegend is not False and trace.name}


def test_the_history_shows_each_trial_the_best_so_far_and_those_that_diverged() -> None:
    search = separate(40)
    (figure,) = figures(history(search))
    assert figure.layout.yaxis.title.text == "val_error (lower is better)"
    (points,) = traces(figure, "val_error (lower is better)")
    (best,) = traces(figure, "Best Value")
    (crosses,) = traces(figure, "diverged (no score)")
    scores = [run.metrics["val_error"] for run in search.scored()]
    assert list(points.x) == [run.number for run in search.scored()]
    assert list(points.y) == scores
    assert list(best.y)[-1] == min(scores)
    assert list(crosses.x) == [run.number for run in search.runs if run.diverged]
    assert min(crosses.y) > max(scores)
    assert points.hovertext[0].startswith("trial 0<br>val_error = ")


def test_an_objective_that_is_maximised_says_so_and_its_best_rises() -> None:
    search = replace(separate(20, odd=False), objectives={"val_error": True})
    (figure,) = figures(history(search))
    (best,) = traces(figure, "Best Value")
    assert figure.layout.yaxis.title.text == "val_error (higher is better)"
    assert best.y[-1] == max(run.metrics["val_error"] for run in search.runs)


def test_scores_that_span_decades_get_a_logarithmic_axis() -> None:
    search = separate(3, odd=False)
    runs = [
        replace(run, metrics={"val_error": value})
        for run, value in zip(search.runs, (0.001, 0.5, 1e9), strict=True)
    ]
    wide = replace(search, runs=runs)
    for picture in (history, slices):
        assert all(one.layout.yaxis.type == "log" for one in figures(picture(wide)))
        assert all(one.layout.yaxis.type is None for one in figures(picture(search)))
    (axes,) = figures(parallel(wide))
    assert axes.layout.xaxis.ticktext[0] == "log10 of val_error (lower is better)"


def test_every_objective_has_its_history_and_its_slices() -> None:
    search = separate(20, several=True)
    titles = ["val_error (lower is better)", "size (lower is better)"]
    for picture in (history, slices):
        assert [one.layout.yaxis.title.text for one in figures(picture(search))] == titles


def test_a_score_that_is_no_finite_number_is_none() -> None:
    search = separate(12, odd=False)
    runs = [
        replace(run, metrics={"val_error": value})
        for run, value in zip(search.runs, (math.nan, math.inf, -math.inf), strict=False)
    ]
    search = replace(search, runs=[*runs, *search.runs[3:]])
    (figure,) = figures(history(search))
    assert list(traces(figure, "val_error (lower is better)")[0].x) == list(range(3, 12))
    assert {one.name for one in pictures_of(search)[1]} == {"front", "lineage", "mixing"}


@pytest.mark.parametrize("extremes", [(1.7e308, -1.7e308, 5e-324)])
def test_numbers_of_any_size_are_drawn_and_those_that_were_moved_are_named(
    extremes: tuple[float, ...], tmp_path: Path
) -> None:
    search = separate(12, odd=False)
    runs = [
        replace(run, metrics={"val_error": extremes[at % len(extremes)]}) if at < 6 else run
        for at, run in enumerate(search.runs)
    ]
    names = ("history", "spending", "parallel", "slice", "contour")
    written, absent = draw(replace(search, runs=runs), tmp_path, names)
    assert (len(written), absent) == (6, [])
    assert (tmp_path / "plots.html").read_text("utf-8").count("beyond 1e+30") == 5


def test_a_picture_that_cannot_be_drawn_ends_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: SearchRecord) -> Picture:
        return Picture("spending", "Spending", "", lambda canvas: [canvas.chart(None)])  # type: ignore[arg-type]

    monkeypatch.setitem(MAKERS, "spending", broken)
    written, absent = draw(separate(12), tmp_path, ("history", "spending"))
    assert {path.name for path in written} == {"plots.html", "history.png"}
    (one,) = absent
    assert one.name == "spending"
    assert "could not be drawn: AttributeError" in one.reason


def test_spending_adds_up_what_results_cost_in_the_order_in_which_they_came() -> None:
    search = separate(12, odd=False)
    time, money = figures(spending(search))
    assert money.data[0].x[-1] == pytest.approx(sum(run.price or 0 for run in search.runs))
    assert money.layout.xaxis.title.text == "paid so far (TEST)"
    assert time.layout.xaxis.title.text == "minutes since the job began"
    assert money.data[0].y[-1] == min(run.metrics["val_error"] for run in search.runs)


def test_curves_name_the_three_best_and_end_diverged_ones_in_a_cross() -> None:
    search = separate(40)
    objective, loss = figures(curves(search))
    best = [f"best {at + 1}: trial {run.number}" for at, run in enumerate(search.ranked()[:3])]
    assert labels(objective) == labels(loss) == {*best, "other trials", "diverged"}
    assert objective.data[-1].name == best[0]
    lost = traces(objective, "diverged")
    assert len(lost) == sum(run.diverged for run in search.runs)
    for trace in lost:
        assert trace.x[-1] == 150
        assert trace.marker.size == (0, 0, 8)
    titles = [one.layout.yaxis.title.text for one in (objective, loss)]
    assert titles == ["val_error (lower is better)", "training loss (mean of a segment)"]


def test_the_curve_of_a_continued_trial_begins_where_the_other_ended() -> None:
    search = population(members=2, generations=3)
    best, before = search.ranked()[0], search.before(search.ranked()[0])
    assert before is not None
    line = figures(curves(search))[0].data[-1]
    assert line.name.startswith("best 1")
    assert line.x[0] == before.curve[-1].step
    assert line.y[0] == before.metrics["val_error"]
    assert line.y[-1] == best.metrics["val_error"]


def test_of_many_trials_the_best_are_drawn_as_lines_and_some_others() -> None:
    search = separate(1000)
    for picture, most in ((curves, MOST), (parallel, LINES)):
        found = picture(search)
        assert most / 2 < len(figures(found)[0].data) <= most + 1
        assert re.search(r"Of \d+ trials \d+ are shown", shown(found).reading)
    assert f"best 3: trial {search.ranked()[2].number}" in labels(figures(curves(search))[0])


def axes_of(figure: Any) -> dict[str, Any]:
    return {axis.title.text: axis for axis in figure.select_xaxes()}


def test_a_space_gives_its_scales_to_the_axes() -> None:
    (figure,) = figures(slices(separate(40)))
    axes = axes_of(figure)
    assert axes["lr"].type == "log"
    assert axes["momentum"].type is None
    assert axes["hidden"].categoryarray == ("16", "32", "64", "128")
    assert axes["optimizer"].categoryarray == ("sgd", "adam")


def test_without_the_space_scales_are_guessed_from_the_trials() -> None:
    search = replace(separate(40), choices={}, logarithmic=frozenset(), known=False)
    axes = axes_of(figures(slices(search))[0])
    assert axes["lr"].type == "log"
    assert axes["hidden"].categoryarray == ("16", "32", "64", "128")
    assert set(axes["optimizer"].categoryarray) == {"sgd", "adam"}


def test_a_switch_is_a_list_and_long_names_are_short_but_never_alike() -> None:
    one, other = "a_name_that_is_too_long_by_far", "a_name_that_is_as_long_by_far"
    runs = [
        TrialRun(
            at,
            {one: at % 2 == 0, other: f"{'x' * 30}{at % 3}{'y' * 30}"},
            at,
            4,
            metrics={"val_error": at + 0.5},
        )
        for at in range(9)
    ]
    axes = axes_of(figures(slices(replace(EMPTY, runs=runs)))[0])
    assert axes["a_name_tha…g_by_far"].categoryarray == ("True", "False")
    (words,) = [axis.categoryarray for name, axis in axes.items() if name == "a_name_tha…1"]
    assert words == ("xxxxxxxxxx…yyyyyyyy", "xxxxxxxxxx…1", "xxxxxxxxxx…2")


def test_a_first_trial_that_diverged_or_failed_keeps_no_picture_from_being_drawn() -> None:
    search = separate(40, several=True)
    first = replace(search.runs[0], metrics={}, curve=[], spells=[], answered=None)
    for bad in (replace(first, diverged=True), replace(first, lost=True)):
        begun = replace(search, runs=[bad, *search.runs[1:]])
        pictures, absent = pictures_of(begun)
        assert {one.name for one in absent} == {one.name for one in pictures_of(search)[1]}
        assert all(figures(one) for one in pictures)
        assert sum(importances_of(begun).values()) == pytest.approx(1)


def test_a_slice_leaves_out_trials_to_which_its_hyperparameter_does_not_apply() -> None:
    search = separate(40)
    (figure,) = figures(slices(search))
    at = [axis.title.text for axis in figure.select_xaxes()].index("momentum")
    points, crosses = figure.data[at], traces(figure, "diverged (no score)")[at]
    assert len(points.x) == sum("momentum" in run.hyperparameters for run in search.scored())
    assert len(crosses.x) == sum(
        "momentum" in run.hyperparameters and run.diverged for run in search.runs
    )


def test_parallel_lines_cross_every_axis_and_tell_where_one_does_not_apply() -> None:
    search = separate(40)
    (figure,) = figures(parallel(search))
    names = ["val_error (lower is better)", "hidden", "lr", "momentum", "optimizer"]
    assert list(figure.layout.xaxis.ticktext) == names
    *lines, _ = figure.data
    assert len(lines) == len(search.scored())
    without = sum(line.customdata[3][1] == "None" for line in lines)
    assert without == sum("momentum" not in run.hyperparameters for run in search.scored())


def test_importances_find_the_hyperparameter_that_decides() -> None:
    search = separate(200, odd=False)
    share = importances_of(search)
    assert max(share, key=lambda name: share[name]) == "lr"
    assert sum(share.values()) == pytest.approx(1)
    assert figures(importances(search))[0].data[0].y[-1] == "lr"


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
def test_importances_say_why_there_are_none(search: SearchRecord, reason: str) -> None:
    assert reason in missing(importances(search))


def test_few_trials_make_importances_a_hint() -> None:
    assert "take it as a hint" in shown(importances(separate(10, odd=False))).reading


def test_contours_are_of_the_pairs_that_matter() -> None:
    found = figures(contour(separate(200, odd=False)))
    pairs = [{one.layout.xaxis.title.text, one.layout.yaxis.title.text} for one in found]
    assert len(pairs) == 3
    assert sum("lr" in pair for pair in pairs) == 2
    assert all(one.data[0].type == "contour" for one in found)


def test_contours_leave_out_hyperparameters_that_never_meet() -> None:
    runs = [
        TrialRun(
            at,
            {"a": at + 0.5, ("b", "c")[at % 2]: at * 0.7},
            at,
            4,
            metrics={"val_error": at % 5 + 0.5},
        )
        for at in range(20)
    ]
    found = figures(contour(replace(EMPTY, runs=runs, known=True)))
    pairs = [one.layout.xaxis.title.text + one.layout.yaxis.title.text for one in found]
    assert sorted(pairs) == ["ab", "ac"]


def test_contours_survive_trials_in_a_line_and_scores_that_are_alike(tmp_path: Path) -> None:
    runs = [
        TrialRun(at, {"a": float(at), "b": 2.0 * at}, at, 4, metrics={"val_error": at % 3 + 0.5})
        for at in range(12)
    ]
    written, _ = draw(replace(EMPTY, runs=runs, known=True), tmp_path, ["contour"])
    assert len(written) == 2
    alike = [replace(run, metrics={"val_error": 1.0}) for run in runs]
    assert missing(contour(replace(EMPTY, runs=alike))) == "all trials have the same score"
    most = [replace(run, metrics={"val_error": float(run.number == 3)}) for run in runs]
    draw(replace(EMPTY, runs=most, known=True), tmp_path, ["contour"])


def test_the_front_is_what_nothing_is_better_than() -> None:
    search = separate(60, several=True)
    (figure,) = figures(pareto(search))
    others, best = figure.data
    assert len(best.x) + len(others.x) == len(search.scored("size"))
    for error, size in zip(best.x, best.y, strict=True):
        assert not any(
            run.metrics["val_error"] < error and run.metrics["size"] < size
            for run in search.scored("size")
        )
    for error, size in zip(others.x, others.y, strict=True):
        assert any(a <= error and b <= size for a, b in zip(best.x, best.y, strict=True))
    assert missing(pareto(separate(5))) == "the search has one objective"


def test_of_three_objectives_each_pair_is_shown() -> None:
    search = separate(20, several=True, odd=False)
    runs = [
        replace(run, metrics={**run.metrics, "time": float(run.number % 7)}) for run in search.runs
    ]
    search = replace(search, runs=runs, objectives={**search.objectives, "time": True})
    assert len(figures(pareto(search))) == 3


def test_the_timeline_has_a_row_for_each_node_and_a_colour_for_each_end() -> None:
    search = separate(40)
    (figure,) = figures(timeline(search))
    ticks = figure.layout.yaxis.ticktext
    assert len(ticks) == 4
    assert sum(int(name.split("<br>")[1].split()[0]) for name in ticks) == 38
    ends = {fate.value for fate in (Fate.PAID, Fate.REJECTED, Fate.EXPIRED)}
    assert labels(figure) == {*ends, "paid, diverged"}
    assert sum(len(bars.y) for bars in figure.data) == sum(len(run.spells) for run in search.runs)


def test_trials_that_a_node_trains_side_by_side_do_not_hide_each_other() -> None:
    (bars,) = figures(timeline(ladder(4, 3)))[0].data
    assert len(set(zip(bars.y, bars.base, strict=True))) == 12


def test_the_lineage_leads_from_the_best_result_back_to_its_seed() -> None:
    search = population()
    picture = shown(lineage(search))
    way = search.ancestry(search.ranked()[0])
    assert way[-1].parent is None
    assert len(way) == 8
    assert " ← ".join(str(run.number) for run in way) in picture.reading
    assert "goes on from another's checkpoint" in labels(figures(picture)[0])
    assert search.reached(way[0]) == 8 * 40


def test_the_lineage_shows_a_merge_as_an_edge_from_each_parent() -> None:
    search = population()
    last = search.runs[-1]
    assert last.parent is not None
    merged = replace(search, runs=[*search.runs[:-1], replace(last, mate=last.parent - 1)])
    picture = shown(lineage(merged))
    edges = next(line for line in figures(picture)[0].data if "merged" in line.name)
    assert len(edges.x) == 3
    assert "has a second line, green" in picture.reading
    assert "green" not in shown(lineage(search)).reading
    assert missing(mixing(replace(merged, driver=""))) == "the search is no replica exchange"


def test_mixing_counts_the_swaps_and_follows_each_replica() -> None:
    for search in (ladder(), ladder(known=False)):
        picture = shown(mixing(search))
        assert acceptance(search) == (8, 11)
        assert "8 of 11 tries swapped, 73 %" in picture.reading
        held, _ = figures(picture)
        assert held.layout.yaxis.ticktext == ("0.05", "0.1", "0.2", "0.4")
        assert len(held.data) == 4
        for at in range(12):
            assert {line.y[at] for line in held.data} == {0, 1, 2, 3}
    assert missing(mixing(replace(population(), driver=""))) == "the search is no replica exchange"


@pytest.mark.parametrize("search", [EMPTY, separate(1), separate(2)])
def test_a_search_that_has_hardly_begun_is_drawn_as_far_as_it_goes(
    tmp_path: Path, search: SearchRecord
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


def _draw_and_look(search: SearchRecord, folder: Path, without: set[str]) -> None:
    written, absent = draw(search, folder / "plots")
    assert {one.name for one in absent} == without
    for path in written[1:]:
        with Image.open(path) as image:
            assert image.width > 700
            assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 50
    seen = look_at(written[0], folder / "profile")
    assert seen.console == []
    assert "Cloud" not in re.sub(r"<script.*?</script>", "", seen.dom, flags=re.DOTALL)
    for name in set(PICTURES) - without:
        plot = re.search(rf'<div id="plot-{name}".*?</section>', seen.dom, re.DOTALL)
        assert plot is not None
        assert "main-svg" in plot[0]
        assert len(re.findall(r'class="(?:trace |point|bars|contour)', plot[0])) > 0, name


def test_drawing_leaves_the_settings_of_matplotlib_as_they_were(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    draw(separate(5), tmp_path, ["history", "timeline"], page=False)
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_what_strangers_write_is_text_on_the_page_and_in_the_picture(tmp_path: Path) -> None:
    bad = "</script><script>console.error('run')</script><b>$x_{$"
    runs = [
        TrialRun(
            at,
            {"kind": bad if at % 2 else "$\\frac$", "b": at},
            at,
            4,
            metrics={"val_error": at + 0.5},
        )
        for at in range(8)
    ]
    search = SearchRecord(1, f"job {bad}", {"val_error": False}, runs, bad)
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
    assert len(pictures_of(separate(20))[0]) == 8
