"""The content of each plot for constructed records, read from its axes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from tuner.errors import ArgumentError
from tuner.plotting import Plots
from tuner.plotting.importance_scores import importance_scores, most_important
from tuner.plotting.measure import Measure, ValueAxis
from tuner.plotting.parameter_axis import ParameterAxis
from tuner.plotting.style import BEST
from tuner.records import Direction, Goal, Report, Run, State, Trial
from tuner.search_spaces import Choice, Column, Float, Int, Ordinal, Space

MakeUp = Callable[..., Plots]

PLANE = Space({"x": Float(0, 1), "y": Float(1e-3, 1.0, log=True), "m": Choice("a", "b")})


def on_plane(n: int, value: Callable[[dict[str, Any]], float], **changes: Any) -> Plots:
    points = PLANE.sample(np.random.default_rng(0), n)
    trials = [Trial(i, p, State.COMPLETED, (value(p),)) for i, p in enumerate(points)]
    trials = [dataclasses.replace(t, **changes) for t in trials]
    return Plots(PLANE, [Goal()], lambda: trials)


def texts(ax: Axes) -> str:
    return "\n".join(text.get_text() for text in ax.texts)


def labels(ax: Axes) -> list[str]:
    return list(ax.get_legend_handles_labels()[1])


def line(ax: Axes, label: str) -> Any:
    return next(found for found in ax.lines if found.get_label() == label)


# --- history --------------------------------------------------------------------------------------


def test_the_history_has_every_state_and_the_best_so_far() -> None:
    values = [3.0, None, 1.0, 2.0, 0.5]
    states = [State.COMPLETED, State.FAILED, State.COMPLETED, State.COMPLETED, State.STOPPED]
    point = {"x": 0.5, "y": 0.5, "m": "a"}
    trials = [
        Trial(i, point, s, () if v is None else (v,))
        for i, (s, v) in enumerate(zip(states, values, strict=True))
    ]
    ax = Plots(PLANE, [Goal("loss")], lambda: trials).history()
    assert labels(ax) == [
        "completed", "stopped", "best so far", "best: 1, trial 2", "failed"
    ]  # fmt: skip
    assert line(ax, "best so far").get_ydata().tolist() == [3.0, 1.0, 1.0, 1.0]
    assert line(ax, "best so far").get_xdata()[-1] == 4
    assert line(ax, "failed").get_xdata() == [1]
    best = line(ax, "best: 1, trial 2")
    assert (best.get_xdata()[0], best.get_color()) == (2, BEST)
    assert ax.get_ylabel() == "loss (minimize)"
    assert not ax.texts, "a text would cover trials"


def test_an_infeasible_trial_is_never_the_best_so_far() -> None:
    trials = [
        Trial(i, {"x": 0.5, "y": 0.5, "m": "a"}, State.COMPLETED, (v,), constraints={"limit": c})
        for i, (v, c) in enumerate([(0.1, 1.0), (3.0, 0.0), (2.0, -1.0), (1.0, 0.5)])
    ]
    plots = Plots(PLANE, [Goal("loss")], lambda: trials)
    ax = plots.history()
    assert line(ax, "best so far").get_xdata().tolist() == [1, 2, 3]
    assert line(ax, "best so far").get_ydata().tolist() == [3.0, 2.0, 2.0]
    assert line(ax, "best: 2, trial 2").get_xdata()[0] == 2
    assert "infeasible" in labels(ax)
    assert line(plots.slice("x"), "best, trial 2").get_ydata()[0] == 2.0
    assert "infeasible" in labels(plots.slice("x"))
    nowhere = Plots(PLANE, [Goal("loss")], lambda: [t for t in trials if not t.feasible])
    for ax in (nowhere.history(), nowhere.slice("x"), nowhere.contour("x", "y")):
        assert not any("best" in label for label in labels(ax))


def test_maximizing_reverses_the_best_so_far() -> None:
    trials = [
        Trial(i, {"x": 0.5, "y": 0.5, "m": "a"}, State.COMPLETED, (v,))
        for i, v in enumerate([1.0, 3.0, 2.0])
    ]
    plots = Plots(PLANE, [Goal("accuracy", Direction.MAXIMIZE)], lambda: trials)
    assert line(plots.history(), "best so far").get_ydata().tolist() == [1.0, 3.0, 3.0, 3.0]


def test_a_diverged_value_is_drawn_at_the_edge() -> None:
    plots = on_plane(50, lambda p: 1e12 if p["x"] > 0.97 else p["x"])
    assert sum(t.value == 1e12 for t in plots._trials()) > 0
    ax = plots.history()
    assert ax.get_ylim()[1] < 2
    assert "completed, off scale" in labels(ax)


def test_values_over_decades_get_a_log_axis() -> None:
    assert on_plane(30, lambda p: 10 ** (6 * p["x"])).history().get_yscale() == "log"
    assert on_plane(30, lambda p: p["x"]).history().get_yscale() == "linear"


# --- the axes of parameters -----------------------------------------------------------------------


def test_a_parameter_axis_has_the_scale_of_its_domain() -> None:
    log = ParameterAxis(Column("lr", Float(1e-4, 1.0, log=True)))
    assert log.fraction(log.positions([1e-4, 1e-2, 1.0])) == pytest.approx([0, 0.5, 1])
    assert log.at_fraction(np.array([0.0, 0.5, 1.0])) == pytest.approx([1e-4, 1e-2, 1.0])
    size = ParameterAxis(Column("size", Ordinal(16, 64, 256)))
    assert size.positions([256, 16]).tolist() == [2, 0]
    assert size.labels() == ["16", "64", "256"]
    mixed = ParameterAxis(Column("c", Choice(1, True, None, (2, 3))))
    assert mixed.positions([True, 1, (2, 3), None]).tolist() == [1, 0, 3, 2]


def test_labels_of_many_options_do_not_overlap() -> None:
    axis = ParameterAxis(Column("c", Choice(*range(500))))
    shown = [label for label in axis.labels() if label]
    assert len(shown) <= 24
    assert shown[0] == "0"


# --- slice ----------------------------------------------------------------------------------------


def test_a_slice_has_the_scale_and_ticks_of_its_parameter() -> None:
    plots = on_plane(20, lambda p: p["x"])
    assert plots.slice("y").get_xscale() == "log"
    assert plots.slice("x").get_xlim() == pytest.approx((-0.03, 1.03))
    assert [t.get_text() for t in plots.slice("m").get_xticklabels()] == ["a", "b"]
    assert "median" in labels(plots.slice("m"))


def test_a_slice_without_a_name_shows_the_most_important_parameter() -> None:
    assert on_plane(60, lambda p: math.log(p["y"])).slice().get_xlabel() == "y"
    assert on_plane(60, lambda p: p["x"] ** 2).slice().get_xlabel() == "x"


def test_a_slice_counts_trials_in_which_the_parameter_is_inactive(made_up: MakeUp) -> None:
    plots = made_up(40, states="C")
    active = [t for t in plots._trials() if t.params["model"][0] == "svm"]
    ax = plots.slice("model.svm.C")
    assert sum(len(c.get_offsets()) for c in ax.collections) == len(active)
    assert f"model = svm: {len(active)} of 40 trials" in ax.get_xlabel()


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda p: p.slice("model.svm.c"), r"'model\.svm\.c'; write one of .*'model\.svm\.C'"),
        (lambda p: p.contour("lr", "nothing"), "'nothing'"),
        (lambda p: p.contour("lr", "lr"), "x and y are both 'lr'"),
        (lambda p: p.parallel_coordinates(["lr", "Lr"]), "'Lr'; write one of .*'lr'"),
        (lambda p: p.importances("anova"), "'anova'; choose 'fanova' or 'ped-anova'"),
        (lambda p: p.learning_curves("accuracy"), "'accuracy'; write one of 'other', 'value'"),
    ],
)
def test_a_wrong_name_is_an_error_that_lists_valid_ones(
    made_up: MakeUp, draw: Callable[[Plots], Axes], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        draw(made_up(10))


# --- contour --------------------------------------------------------------------------------------


def test_a_contour_is_filled_near_trials_and_marks_the_best() -> None:
    plots = on_plane(100, lambda p: (p["x"] - 0.5) ** 2)
    ax = plots.contour("x", "y")
    best = min(plots._trials(), key=lambda t: t.value)
    assert line(ax, "best").get_xdata()[0] == best.params["x"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")
    low, high = ax.get_figure().axes[1].get_ylim()
    assert (low, high) == (0, 1)


def test_a_contour_has_no_color_far_from_trials() -> None:
    points = PLANE.sample(np.random.default_rng(0), 100)
    points = [p | {"x": 0.4 * p["x"]} for p in points]
    trials = [Trial(i, p, State.COMPLETED, (p["x"],)) for i, p in enumerate(points)]
    ax = Plots(PLANE, [Goal()], lambda: trials).contour("x", "y")
    path, to_pixels = ax.collections[0].get_clip_path().get_transformed_path_and_affine()
    outline = path.transformed(to_pixels)
    assert outline.contains_point(ax.transData.transform((0.2, 0.03)))
    assert not outline.contains_point(ax.transData.transform((0.8, 0.03)))


def test_overlapping_bars_are_transparent() -> None:
    apart = timeline_of(*[("a", i, i + 0.9) for i in range(10)])
    assert apart.collections[0].get_alpha() == 1
    crowd = timeline_of(*[("a", i, i + 0.9) for i in range(3_000)])
    assert crowd.collections[0].get_alpha() < 0.5
    assert crowd.get_legend().get_patches()[0].get_alpha() is None


@pytest.mark.slow
def test_a_contour_chooses_the_two_most_important_parameters() -> None:
    plots = on_plane(80, lambda p: p["x"] + math.log(p["y"]))
    ax = plots.contour()
    assert {ax.get_xlabel(), ax.get_ylabel()} == {"x", "y"}
    assert plots.contour(y="x").get_xlabel() == "y"
    assert plots.contour(x="m").get_xlabel() == "m"


def test_the_best_of_a_branch_is_not_labeled_as_the_best(made_up: MakeUp) -> None:
    plots = made_up(60, states="C", value=lambda p: float(p["model"][0] == "svm"))
    assert "best of these" in labels(plots.contour("model.svm.C", "lr"))
    assert "best" in labels(plots.contour("lr", "layers"))


def test_parameters_never_active_together_show_a_message(made_up: MakeUp) -> None:
    ax = made_up(30).contour("model.svm.C", "model.forest.trees")
    assert "no completed trial has both parameters" in texts(ax)


@pytest.mark.slow
def test_a_contour_never_pairs_a_choice_with_its_own_branch_parameters(made_up: MakeUp) -> None:
    for x in ("model", "model.svm.kernel.rbf.gamma", "model.forest.trees"):
        y = made_up(40).contour(x).get_ylabel()
        assert not y.startswith(f"{x}."), (x, y)
        assert not x.startswith(f"{y}."), (x, y)


# --- parallel coordinates -------------------------------------------------------------------------


def test_parallel_coordinates_draw_inactive_values_in_a_lane(made_up: MakeUp) -> None:
    ax = made_up(40, states="C").parallel_coordinates()
    assert "not active" in texts(ax)
    heights = np.concatenate([s[:, 1] for s in ax.collections[0].get_segments()])
    assert (heights == heights.min()).sum() > 10
    assert heights.min() < -0.1
    without = on_plane(20, lambda p: p["x"]).parallel_coordinates()
    assert "not active" not in texts(without)


def test_parallel_coordinates_take_params_in_the_order_given(made_up: MakeUp) -> None:
    ax = made_up(10).parallel_coordinates(["layers", "lr"])
    assert [t.get_text() for t in ax.get_xticklabels()][:2] == ["layers", "lr"]


@pytest.mark.slow
def test_parallel_coordinates_of_many_parameters_keep_the_important_ones() -> None:
    space = Space({f"p{i}": Float(0, 1) for i in range(30)})
    points = space.sample(np.random.default_rng(0), 100)
    trials = [Trial(i, p, State.COMPLETED, (p["p17"],)) for i, p in enumerate(points)]
    ax = Plots(space, [Goal()], lambda: trials).parallel_coordinates()
    names = [t.get_text() for t in ax.get_xticklabels()]
    assert len(names) == 21
    assert "p17" in names
    assert "10 less important parameters are omitted" in ax.get_xlabel()


# --- importances ----------------------------------------------------------------------------------


LOSS = Measure.of_goal(Goal())


@pytest.mark.parametrize("method", ["fanova", "ped-anova"])
def test_the_decisive_parameter_is_the_most_important(method: str) -> None:
    trials = on_plane(100, lambda p: math.log(p["y"]))._trials()
    found = importance_scores(PLANE, LOSS, trials, method)
    (group,) = found.groups
    assert next(iter(group.scores)) == "y"
    assert group.scores["y"] > 5 * group.scores["x"]
    assert group.n_trials == 100
    if method == "fanova":
        assert group.scores["y"] > 0.9
        assert sum(group.scores.values()) + found.together + found.unexplained == pytest.approx(1)


@pytest.mark.slow
def test_importances_of_a_choice_with_many_options_are_fast() -> None:
    space = Space({"x": Float(0, 1), "many": Choice(*range(40))})
    points = space.sample(np.random.default_rng(0), 100)
    trials = [Trial(i, p, State.COMPLETED, (p["x"],)) for i, p in enumerate(points)]
    plots = Plots(space, [Goal()], lambda: trials)
    assert importance_scores(space, LOSS, trials).scores["x"] > 0.9
    assert "PED-ANOVA" in plots.importances("ped-anova").get_xlabel()
    assert plots.slice().get_xlabel() == "x"


def test_a_diverged_trial_does_not_dominate_importances() -> None:
    trials = on_plane(100, lambda p: 1e12 if p["y"] > 0.8 else p["x"])._trials()
    assert 0 < sum(t.value == 1e12 for t in trials) < 10
    assert importance_scores(PLANE, LOSS, trials).scores["x"] > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("direction", list(Direction))
def test_a_rarely_tried_branch_has_importances(direction: Direction) -> None:
    """A few bad trials that lie off scale do not count as diverged."""

    def value(p: dict[str, Any]) -> float:
        return direction.sign * ((2.0 if p["m"] == "b" else 0.5) + 0.3 * p["x"])

    points = PLANE.sample(np.random.default_rng(0), 150)
    points = [p | {"m": "b" if i < 12 else "a"} for i, p in enumerate(points)]
    trials = [Trial(i, p, State.COMPLETED, (value(p),)) for i, p in enumerate(points)]
    goal = Goal("value", direction)
    measure = Measure.of_goal(goal)
    assert ValueAxis.of(measure, measure.values(trials)).off_scale(np.array([value(points[0])]))
    assert importance_scores(PLANE, measure, trials).scores["m"] > 0.6


@pytest.mark.slow
def test_branches_of_a_space_have_groups_of_their_own(made_up: MakeUp) -> None:
    plots = made_up(120, states="C")
    trials = plots._trials()
    groups = {g.where: g for g in importance_scores(plots._space, LOSS, trials).groups}
    assert groups[()].n_trials == 120
    assert set(groups[()].scores) == {"scaler", "lr", "layers", "batch", "nesterov", "model"}
    svm = groups[(("model", "svm"),)]
    assert set(svm.scores) == {"model.svm.C", "model.svm.kernel"}
    assert svm.n_trials == sum(t.params["model"][0] == "svm" for t in trials)
    assert sum(svm.scores.values()) < 0.5, "lr, which is active there besides, decides"
    assert f"where model = svm: {svm.n_trials} trials" in texts(plots.importances())


def test_importances_of_equal_or_few_values_name_the_missing_data() -> None:
    for plots in (on_plane(3, lambda p: p["x"]), on_plane(30, lambda p: 1.0)):
        assert "needs 4 completed trials with different values" in texts(plots.importances())
        assert most_important(PLANE, LOSS, plots._trials()) == ["x", "y", "m"]


def test_one_point_tried_many_times_has_no_importances() -> None:
    point = {"x": 0.5, "y": 0.1, "m": "a"}
    trials = [Trial(i, point, State.COMPLETED, (float(i),)) for i in range(12)]
    assert importance_scores(PLANE, LOSS, trials).groups == ()
    for ax in (
        Plots(PLANE, [Goal()], lambda: trials).importances(),
        Plots(PLANE, [Goal()], lambda: trials).slice(),
    ):
        assert ax.figure is not None


@pytest.mark.slow
def test_the_same_trials_give_the_same_importances() -> None:
    trials = on_plane(300, lambda p: p["x"] + p["y"])._trials()
    first, again = (importance_scores(PLANE, LOSS, trials, ranges=True) for _ in range(2))
    assert first == again


# --- learning curves ------------------------------------------------------------------------------


def test_learning_curves_show_the_last_run_of_each_trial() -> None:
    point = {"x": 0.5, "y": 0.5, "m": "a"}
    trials = [Trial(0, point, State.COMPLETED, (1.0,)), Trial(1, point, State.COMPLETED, (2.0,))]
    runs = [Run("lost", 0), Run("again", 0, attempt=2), Run("other", 1)]
    reports = [
        ("lost", Report(0, {"value": 9.0})),
        ("again", Report(0, {"value": 3.0})),
        ("again", Report(1, {"value": 1.0})),
        ("other", Report(0, {"value": 2.0})),
    ]
    ax = Plots(PLANE, [Goal()], lambda: trials, lambda: runs, lambda: reports).learning_curves()
    assert line(ax, "best, trial 0").get_ydata().tolist() == [3.0, 1.0]
    assert ax.get_ylim()[1] < 9


def test_learning_curves_mark_what_was_stopped_and_failed(made_up: MakeUp) -> None:
    ax = made_up(30).learning_curves()
    assert labels(ax)[:3] == ["completed", "stopped", "failed"]
    assert made_up(30).learning_curves("other").get_ylabel() == "other"


def test_a_study_without_reports_names_trial_report() -> None:
    assert "trial.report(value, step)" in texts(on_plane(5, lambda p: 1.0).learning_curves())


# --- timeline -------------------------------------------------------------------------------------


def timeline_of(*spans: tuple[str, float, float | None]) -> Axes:
    runs = [
        Run(
            f"run-{i}", i, worker=worker, started=1.7e9 + begin,
            ended=None if end is None else 1.7e9 + end,
            state=State.RUNNING if end is None else State.COMPLETED,
        )
        for i, (worker, begin, end) in enumerate(spans)
    ]  # fmt: skip
    return Plots(PLANE, [Goal()], lambda: [], lambda: runs).timeline()


def test_the_timeline_has_a_lane_for_each_worker_in_their_order() -> None:
    ax = timeline_of(("worker-10", 0, 1), ("worker-2", 0, 2), ("worker-1", 1, None))
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == ["worker-1", "worker-2", "worker-10"]
    assert labels(ax) == ["completed", "running"]
    assert ax.get_xlim()[1] == pytest.approx(2.02)


def test_a_long_pause_is_cut_and_a_short_one_is_not() -> None:
    day = 86_400.0
    ax = timeline_of(("a", 0, 10), ("a", 11, 20), ("a", day, day + 20))
    assert ax.get_xlim()[1] < 60
    assert "24 h pause" in texts(ax)
    assert "pauses omitted" in ax.get_xlabel()
    assert "pause" not in texts(timeline_of(("a", 0, 10), ("a", 11, 20)))


def test_a_slow_optimizer_is_not_drawn_as_a_pause() -> None:
    ax = timeline_of(*[("a", 30.0 * i, 30.0 * i + 0.01) for i in range(10)])
    assert ax.get_xlim()[1] > 270
    assert "pause" not in texts(ax)


def test_the_border_of_a_short_run_does_not_cover_it() -> None:
    short = [("a", 0.01 * i, 0.01 * i + 0.00001) for i in range(150)]
    (bars,) = timeline_of(*short, ("a", 1.5, 1.6)).collections
    assert bars.get_edgecolor()[0].tolist() == [1.0, 1.0, 1.0, 1.0], "the long one, for the legend"
    assert len(bars.get_edgecolor()) == 151
    assert (bars.get_edgecolor()[1:] == bars.get_facecolor()[0]).all()


@pytest.mark.parametrize(
    ("seconds", "unit"),
    [(0.5, "milliseconds"), (5, "seconds"), (300, "minutes"), (1e4, "hours"), (1e6, "days")],
)
def test_the_timeline_chooses_a_unit_by_its_length(seconds: float, unit: str) -> None:
    assert timeline_of(("a", 0, seconds)).get_xlabel() == f"{unit} since the start of the first run"


def test_a_timeline_without_runs_shows_a_message() -> None:
    assert "no run has started" in texts(timeline_of())


def test_integers_have_integer_ticks() -> None:
    space = Space({"n": Int(1, 3), "x": Float(0, 1)})
    trials = [Trial(i, {"n": 1 + i % 3, "x": 0.5}, State.COMPLETED, (1.0,)) for i in range(6)]
    ax = Plots(space, [Goal()], lambda: trials).slice("n")
    assert all(float(tick).is_integer() for tick in ax.get_xticks())
