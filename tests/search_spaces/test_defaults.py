"""Declared defaults are completed to a feasible point, near the center in all else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tuner
from tuner.errors import TunerWarning
from tuner.search_spaces import Bool, Choice, Float, Int, Ordinal, P, Space


def test_an_undeclared_default_moves_to_satisfy_a_constraint() -> None:
    space = Space({"low": Int(1, 100, default=80), "high": Int(1, 100), "x": Float(0, 1)})
    found = space.where("low <= high").defaults()
    assert found == {"low": 80, "high": 80, "x": 0.5}


def test_an_undeclared_default_moves_as_little_as_possible() -> None:
    space = Space({"a": Float(0, 1, default=0.9), "b": Float(0, 1), "c": Float(0, 1)})
    found = space.where("a + b <= 1").defaults()
    assert found == {"a": 0.9, "b": pytest.approx(0.1), "c": 0.5}
    assert found in space.where("a + b <= 1")


def test_declared_defaults_are_kept() -> None:
    space = Space(
        {
            "a": Float(0, 1, default=0.3),
            "b": Float(0, 1, default=0.6),
            "c": Float(0, 1, log=False),
            "kind": Choice("x", "y", default="y"),
            "on": Bool(default=True),
        }
    ).where("a + b + c <= 1")
    found = space.defaults()
    assert found["c"] == pytest.approx(0.1)
    assert found == {"a": 0.3, "b": 0.6, "c": found["c"], "kind": "y", "on": True}


def test_defaults_within_branches_satisfy_constraints() -> None:
    forest = {"leaf": Int(1, 64, default=40), "split": Int(2, 64)}
    space = Space({"model": Choice("plain", forest=forest, default="forest")})
    space = space.where(P("model.forest.leaf") <= P("model.forest.split"))
    assert space.defaults() == {"model": ("forest", {"leaf": 40, "split": 40})}


def test_another_option_is_the_default_if_the_first_is_excluded() -> None:
    space = Space({"n": Int(1, 9, default=9), "size": Ordinal("small", "large"), "x": Float(0, 1)})
    found = space.where("size == 'large' or n < 5").defaults()
    assert found == {"n": 9, "size": "large", "x": 0.5}


def test_defaults_on_a_grid_satisfy_an_equation() -> None:
    parts = {name: Int(0, 10) for name in "bc"}
    space = Space({"a": Int(0, 10, default=6), **parts}).where("a + b + c == 10")
    found = space.defaults()
    assert found["a"] == 6
    assert found in space


def test_the_default_point_is_deterministic() -> None:
    space = Space({"a": Float(0, 1, default=0.9), "b": Float(0, 1), "c": Float(0, 1)})
    space = space.where("a + b + c <= 1.2")
    assert space.defaults() == space.defaults() == Space.from_json(space.to_json()).defaults()


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 1), st.floats(0.05, 2))
def test_the_default_point_is_in_the_space(default: float, total: float) -> None:
    space = Space({"a": Float(0, 1, default=default), "b": Float(0, 1), "n": Int(1, 9)})
    space = space.where(f"a + b <= {total}")
    found = space.defaults()
    if found is None:
        assert default + 1e-3 > total - 1e-3
    else:
        assert found in space
        assert found["a"] == default
        assert found["n"] == 5


def test_the_default_point_is_tried_first(tmp_path: Path) -> None:
    space = Space({"a": Float(0, 1, default=0.9), "b": Float(0, 1)}).where("a + b <= 1")
    study = tuner.optimize(
        lambda params: params["a"], space, n_trials=2, backend="serial", progress=False,
        register=False, store=tmp_path,
    )  # fmt: skip
    assert study.trials[0].params == {"a": 0.9, "b": pytest.approx(0.1)}


def test_defaults_that_violate_a_constraint_are_reported(tmp_path: Path) -> None:
    space = Space({"a": Float(0, 1, default=0.9)}).where("a <= 0.5")
    with pytest.warns(TunerWarning, match="the defaults .* violate a <= 0.5, so they are not"):
        tuner.optimize(
            lambda params: params["a"], space, n_trials=2, backend="serial", progress=False,
            register=False, store=tmp_path,
        )  # fmt: skip
