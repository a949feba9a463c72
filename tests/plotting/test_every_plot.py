"""Properties of every plot: it draws any record on the given axes, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import tuner
from support.effort import each_once, examples
from tuner.errors import ExportError
from tuner.plotting import Plots
from tuner.plotting.kinds import KINDS
from tuner.records import Direction, Goal, State, Trial
from tuner.search_spaces import Choice, Const, Float, Int, Space
from tuner.testing.strategies import spaces_and_points

every_plot = pytest.mark.parametrize("kind", KINDS)

MakeUp = Callable[..., Plots]


def draw(plots: Plots, kind: str, **options: Any) -> Axes:
    """Draw for real, with every warning of matplotlib and NumPy an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # The font may lack glyphs of some scripts.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        ax: Axes = getattr(plots, kind)(**options)
        figure = ax.get_figure(root=True)
        assert figure is not None
        if "save" not in options:
            figure.draw_without_rendering()  # a bare figure's canvas.draw() does nothing
    return ax


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n"), each_once(KINDS, [0, 1, 7, 60]))
def test_plots_draw_any_number_of_trials(made_up: MakeUp, kind: str, n: int) -> None:
    assert draw(made_up(n), kind).get_title(loc="left")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "states"), each_once(KINDS, ["F", "R", "W", "S", "C"]))
def test_plots_draw_trials_in_one_state(made_up: MakeUp, kind: str, states: str) -> None:
    draw(made_up(9, states=states), kind)


VALUES: dict[str, Callable[[dict[str, Any]], float]] = {
    "equal": lambda p: 1.0,
    "zero": lambda p: 0.0,
    "huge": lambda p: 1e300 * p["layers"],
    "both ends": lambda p: (-1) ** p["layers"] * 1e307,
    "tiny": lambda p: 1e-300 * p["layers"],
    "smallest": lambda p: 5e-324,
    "outliers": lambda p: 1e12 if p["layers"] == 8 else p["lr"],
    "decades": lambda p: 10.0 ** (60 * p["layers"] - 240),
}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "value"), each_once(KINDS, VALUES))
def test_plots_draw_any_values(made_up: MakeUp, kind: str, value: Any) -> None:
    # Half of the plots maximize, so outliers are at either end.
    direction = list(Direction)[KINDS.index(kind) % 2]
    draw(made_up(30, value=value, direction=direction), kind)


@pytest.mark.slow
@every_plot
@settings(
    max_examples=examples(4),
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
)
@given(spaces_and_points(n=12), st.lists(st.floats(-1e3, 1e3), min_size=12))
@example(
    (Space({"x": Float(0, 0.1 * 3, step=0.1)}), [{"x": 0.1 * (i % 4)} for i in range(12)]),
    [float(i) for i in range(12)],
)
def test_plots_draw_any_space(
    kind: str, drawn: tuple[Space, list[dict[str, Any]]], values: Any
) -> None:
    space, points = drawn
    trials = [Trial(i, p, State.COMPLETED, (values[i],)) for i, p in enumerate(points)]
    draw(Plots(space, [Goal()], lambda: trials), kind)


LONG = ("importances", "history", "slice")
"""Plots of ten thousand trials in ``make test``; the others draw as many in ``make soak``."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [*LONG, *(pytest.param(k, marks=pytest.mark.soak) for k in KINDS if k not in LONG)]
)
def test_ten_thousand_trials_are_drawn_in_seconds(
    made_up: MakeUp, kind: str, tmp_path: Path
) -> None:
    plots = made_up(10_000)
    began = time.perf_counter()
    draw(plots, kind, save=tmp_path / "plot.png")
    assert time.perf_counter() - began < 20


@every_plot
def test_a_space_with_one_point_is_drawn(kind: str) -> None:
    space = Space({"only": Const("this")})
    trials = [Trial(i, {"only": "this"}, State.COMPLETED, (float(i),)) for i in range(5)]
    draw(Plots(space, [Goal()], lambda: trials), kind)


@pytest.mark.slow
@every_plot
def test_texts_with_math_markup_are_escaped(kind: str) -> None:
    odd = Choice("$x_", "a\nb", "x" * 200, **{"$a_$": {"n": Int(1, 3)}})
    space = Space({"$a$b$": odd, "y" * 80: Float(0, 1), "z": Float(0, 1)})
    points = space.sample(np.random.default_rng(0), 20)
    trials = [Trial(i, p, State.COMPLETED, (float(i),)) for i, p in enumerate(points)]
    draw(Plots(space, [Goal("$a_$")], lambda: trials), kind)


@every_plot
@pytest.mark.slow
def test_axes_of_the_caller_are_used(made_up: MakeUp, kind: str) -> None:
    left, right = Figure(layout="constrained").subplots(1, 2)
    assert draw(made_up(20), kind, ax=right) is right
    assert not left.has_data()


@pytest.mark.slow
@every_plot
def test_a_plot_is_saved_to_a_file_in_the_style_of_the_caller(
    made_up: MakeUp, kind: str, tmp_path: Path
) -> None:
    import matplotlib.style

    style = ("dark_background", "ggplot")[KINDS.index(kind) % 2]
    formats = [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
    suffix, begin = formats[KINDS.index(kind) % 3]
    path = tmp_path / f"plot.{suffix}"
    with matplotlib.style.context(style):
        before = dict(mpl.rcParams)
        ax = draw(made_up(20), kind, save=path)
        assert ax.get_facecolor() == mpl.colors.to_rgba(before["axes.facecolor"])
        assert dict(mpl.rcParams) == before
    assert path.read_bytes().startswith(begin)


@pytest.mark.parametrize(
    "kind", [KINDS[0], *(pytest.param(k, marks=[pytest.mark.soak]) for k in KINDS[1:])]
)
def test_an_unwritable_file_is_an_error(made_up: MakeUp, kind: str, tmp_path: Path) -> None:
    plots = made_up(3)
    with pytest.raises(ExportError, match=r"'plot\.docx': end the name in one of .*\.png"):
        draw(plots, kind, save="plot.docx")
    with pytest.raises(ExportError, match=r"cannot write.*existing, writable folder"):
        draw(plots, kind, save=tmp_path / "no" / "such" / "plot.png")


@pytest.mark.process
def test_drawing_uses_no_pyplot_and_importing_no_matplotlib(tmp_path: Path) -> None:
    code = """
import sys
from tuner.plotting import Plots
from tuner.plotting.kinds import KINDS
assert "matplotlib" not in sys.modules and "optuna" not in sys.modules
from tuner.records import Goal, State, Trial
from tuner.search_spaces import Float, Space
trials = [Trial(i, {"x": i / 9, "y": 0.5}, State.COMPLETED, (float(i),)) for i in range(9)]
plots = Plots(Space({"x": Float(0, 1), "y": Float(0, 1)}), [Goal()], lambda: trials)
for kind in KINDS:
    getattr(plots, kind)(save=kind + ".png")
assert "matplotlib.pyplot" not in sys.modules
"""
    environment = {**os.environ, "MPLCONFIGDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=environment)
    assert len(list(tmp_path.glob("*.png"))) == len(KINDS)


@pytest.mark.slow
def test_plots_of_a_real_study_are_drawn(tmp_path: Path) -> None:
    def objective(params: dict[str, Any], trial: Any) -> float:
        for step in range(3):
            trial.report(params["x"] + 1 / (step + 1), step)
        return float(params["x"])

    space = {"x": Float(0, 1), "m": Choice(a={"n": Int(1, 3)}, b={})}
    study = tuner.optimize(
        objective, space, n_trials=12, backend="serial", store=tmp_path, progress=False, seed=0,
        optimizer="random",
    )  # fmt: skip
    for kind in KINDS:
        assert draw(study.plot, kind).has_data() != (kind == "pareto_front"), kind
    assert [t.get_text() for t in draw(study.plot, "timeline").get_yticklabels()] == ["serial"]
