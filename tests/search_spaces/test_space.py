"""Spaces: round trips, conditional parameters, and validation."""

from __future__ import annotations

import copy
import math
import pickle
import re
import subprocess
import sys
import timeit
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.errors import ArgumentError, InvalidParams, SpaceError
from tuner.search_spaces import Bool, Choice, Const, Float, Int, Ordinal, P, Space
from tuner.testing.strategies import constrained_spaces, spaces, spaces_and_points

DEEP = Space(
    {
        "lr": Float(1e-4, 1.0, log=True),
        "model": Choice(
            "dummy",
            svm={
                "C": Float(0.1, 10.0, log=True, default=1.0),
                "kernel": Choice(rbf={"gamma": Float(0, 1)}, poly={"degree": Int(2, 5)}),
            },
            forest={"trees": Int(1, 9, step=2)},
        ),
    }
)


@pytest.mark.slow
@given(spaces_and_points(constrained=True))
@settings(deadline=None)
def test_samples_are_points(made: tuple[Space, list[dict[str, Any]]]) -> None:
    space, points = made
    for point in points:
        assert point in space
        assert space.validate(point) == point
        assert repr(space.validate(point)) == repr(point), "the types are the declared ones"


@pytest.mark.slow
@given(spaces_and_points(constrained=True))
@settings(deadline=None)
def test_flattening_round_trips(made: tuple[Space, list[dict[str, Any]]]) -> None:
    space, points = made
    paths = [column.path for column in space.columns]
    for point in points:
        flat = space.flatten(point)
        assert space.unflatten(flat) == point
        assert [p for p in paths if p in flat] == list(flat)


@pytest.mark.slow
@given(spaces_and_points(n=8, constrained=True))
@settings(deadline=None)
def test_encoding_round_trips(made: tuple[Space, list[dict[str, Any]]]) -> None:
    space, points = made
    X, active = space.encode(points)
    assert X.shape == active.shape == (8, len(space.columns))
    assert ((X >= 0) & (X <= 1)).all()
    assert (X[~active] == 0.5).all()
    for row, point, again in zip(active, points, space.decode(X), strict=True):
        flat, other = space.flatten(point), space.flatten(again)
        assert [c.path for c, on in zip(space.columns, row, strict=True) if on] == list(flat)
        assert flat.keys() == other.keys()
        for path, value in flat.items():
            if isinstance(value, float):
                assert other[path] == pytest.approx(value, rel=1e-9, abs=1e-9)
            else:
                assert other[path] == value


@given(spaces_and_points(), st.integers(0, 1000))
@settings(deadline=None)
@pytest.mark.slow
def test_rows_snap_to_the_rows_of_their_points(
    made: tuple[Space, list[dict[str, Any]]], seed: int
) -> None:
    space, _ = made
    rows = np.random.default_rng(seed).random((20, len(space.columns)))
    snapped, on = space.snap(rows)
    X, active = space.encode(space.decode(rows))
    np.testing.assert_allclose(snapped, X, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(on, active)


@pytest.mark.slow
@given(spaces_and_points(constrained=True))
@settings(deadline=None)
def test_documents_round_trip(made: tuple[Space, list[dict[str, Any]]]) -> None:
    space, points = made
    for again in (
        Space.from_dict(space.to_dict()),
        Space.from_json(space.to_json()),
        Space.from_yaml(space.to_yaml()),
    ):
        assert again == space
        assert hash(again) == hash(space)
        assert again.fingerprint == space.fingerprint
        assert repr(again) == repr(space)
        for point in points:
            assert point in again


@pytest.mark.slow
@given(spaces | constrained_spaces())
@settings(deadline=None)
def test_the_grid_of_a_finite_space_has_every_point(space: Space) -> None:
    if Space(space.params).size > 500:
        return
    points = list(space.grid())
    assert len(points) == space.size
    assert all(point in space for point in points)
    keys = {space.key(point) for point in points}
    assert len(keys) == space.size
    assert {space.key(p) for p in space.sample(np.random.default_rng(0), 50)} <= keys


@pytest.mark.slow
@given(spaces_and_points(n=2, constrained=True))
@settings(deadline=None)
def test_different_points_have_different_keys(made: tuple[Space, list[dict[str, Any]]]) -> None:
    space, (a, b) = made
    assert (space.key(a) == space.key(b)) is (repr(a) == repr(b))


def test_a_branch_is_a_pair_to_any_depth() -> None:
    point = DEEP.validate(
        {"lr": 1, "model": ["svm", {"C": 1, "kernel": ("poly", {"degree": 3.0})}]}
    )
    assert point == {"lr": 1.0, "model": ("svm", {"C": 1.0, "kernel": ("poly", {"degree": 3})})}
    assert DEEP.flatten(point) == {
        "lr": 1.0,
        "model": "svm",
        "model.svm.C": 1.0,
        "model.svm.kernel": "poly",
        "model.svm.kernel.poly.degree": 3,
    }
    parents = {c.path: c.parents for c in DEEP.columns}
    assert parents["model.svm.kernel.rbf.gamma"] == (
        ("model", "svm"),
        ("model.svm.kernel", "rbf"),
    )


@pytest.mark.parametrize(
    ("params", "says"),
    [
        (3, "the point must be a dict with lr, model"),
        ({}, "missing 'lr', 'model'"),
        ({"lr": 0.1, "model": ("svm", {"C": 1})}, "missing 'model.svm.kernel'"),
        ({"lr": 5, "model": ("dummy", {})}, "'lr' is 5, allowed: Float"),
        ({"lr": True, "model": ("dummy", {})}, "'lr' is True"),
        ({"lr": math.nan, "model": ("dummy", {})}, "'lr' is nan"),
        ({"lr": 0.1, "model": "dummy"}, r"'model' is 'dummy', allowed: a pair such as \('dummy'"),
        ({"lr": 0.1, "model": ("tree", {})}, "'model' is 'tree', allowed: one of"),
        ({"lr": 0.1, "model": ("dummy", {"C": 1})}, "unknown parameter 'model.dummy.C'"),
        ({"lr": 0.1, "model": ("dummy", None)}, "'model.dummy' must be an empty dict"),
        ({"lrr": 0.1, "model": ("dummy", {})}, "unknown parameter 'lrr'; did you mean 'lr'"),
        ({"lr": 0.1, "model": ("forest", {"trees": 2})}, "'model.forest.trees' is 2"),
    ],
)
def test_an_error_in_params_names_path_value_and_allowed_values(params: Any, says: str) -> None:
    with pytest.raises(InvalidParams, match=says):
        DEEP.validate(params)
    assert params not in DEEP


def test_membership_accepts_any_object() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError("nothing to show")

    endless: list[Any] = []
    endless.append(endless)
    for thing in (
        None,
        "x",
        3,
        object(),
        {1: 2},
        {"lr": object(), "model": [[], {}]},
        {"lr": 10**5000, "model": ("dummy", {})},
        {"lr": Mute(), "model": ("dummy", {})},
        {"lr": 0.1, "model": (endless, {})},
        {"lr": 0.1, "model": np.zeros(2)},
        {Mute(): 1},
        Mute(),
    ):
        assert thing not in DEEP


def test_a_message_is_short_for_large_wrong_values() -> None:
    with pytest.raises(InvalidParams) as caught:
        DEEP.validate({"lr": "x" * 10**6, "model": ("dummy", {})})
    assert len(str(caught.value)) < 400


def test_a_space_is_immutable() -> None:
    given = {"x": Float(0, 1)}
    space = Space(given)
    given["y"] = Float(0, 1)
    assert list(space.params) == ["x"]
    with pytest.raises(TypeError):
        space.params["y"] = Bool()  # type: ignore[index]
    with pytest.raises(AttributeError):
        space.constraints = ()  # type: ignore[misc]
    for again in (copy.deepcopy(space), pickle.loads(pickle.dumps(space))):
        assert again == space


def test_the_order_and_the_types_of_a_space_are_part_of_it() -> None:
    assert Space({"a": Bool(), "b": Bool()}) != Space({"b": Bool(), "a": Bool()})
    assert Space({"a": Const(1)}) != Space({"a": Const(True)})


def test_flat_values_read_from_json_are_accepted() -> None:
    space = Space({"x": Float(0, 5), "n": Int(1, 3), "t": Choice((1, 2), (3,)), "b": Bool()})
    point = space.unflatten({"x": 1, "n": 2.0, "t": [1, 2], "b": True})
    assert repr(point) == "{'x': 1.0, 'n': 2, 't': (1, 2), 'b': True}"
    with pytest.raises(InvalidParams, match="missing 'n'"):
        space.unflatten({"x": 1.0})
    with pytest.raises(InvalidParams, match="'b' is 1, allowed: Bool"):
        space.unflatten({"x": 1.0, "n": 1, "t": (3,), "b": 1})
    with pytest.raises(InvalidParams, match="'model' is 'tree'"):
        DEEP.unflatten({"lr": 0.1, "model": "tree"})


def test_options_that_are_equal_but_not_the_same_have_two_keys() -> None:
    space = Space({"c": Choice(1, True, 1.0)})
    assert len({space.key(point) for point in space.grid()}) == 3


def test_the_same_point_of_a_grid_has_one_key() -> None:
    space = Space({"x": Float(0, 1, step=0.1)})
    assert space.key({"x": 0.1 + 0.2}) == space.key({"x": 0.3})


@pytest.mark.parametrize("X", [[[0.5] * 3], [0.5] * 7, [[float("nan")] * 7]])
def test_a_row_of_the_wrong_shape_is_refused(X: Any) -> None:
    assert len(DEEP.columns) == 7
    with pytest.raises(ArgumentError, match="X has"):
        DEEP.decode(X)


def test_coordinates_outside_the_cube_are_clipped() -> None:
    low, high = DEEP.decode([[-0.5] * 7, [1.5] * 7])
    assert low == {"lr": 1e-4, "model": ("dummy", {})}
    assert high == {"lr": 1.0, "model": ("forest", {"trees": 9})}


def test_missing_defaults_are_the_middle_and_the_first_option() -> None:
    assert DEEP.defaults() == {"lr": pytest.approx(0.01), "model": ("dummy", {})}
    assert Space({"x": Float(0, 1)}).defaults() is None
    constrained = Space({"x": Float(0, 1, default=0.9)}).where(P("x") < 0.5)
    assert constrained.defaults() is None


def test_the_size_counts_branches_and_constraints() -> None:
    inner = Choice("none", a={"n": Int(1, 3), "b": Bool()}, b={"o": Ordinal(1, 2)})
    space = Space({"m": inner, "c": Const(1)})
    assert space.size == 1 + 6 + 2
    assert space.where(P("m.a.n") == 1).size == 1 + 2 + 2
    assert math.isinf(Space({"x": Float(0, 1)}).size)
    assert Space({"x": Int(1, 10**9), "y": Int(1, 10**9)}).size == 10**18


def test_a_grid_has_levels_of_continuous_parameters() -> None:
    space = Space({"x": Float(0, 1), "b": Bool()})
    assert [p["x"] for p in space.grid(levels=3)] == [0, 0, 0.5, 0.5, 1, 1]
    for levels in (0, -1, 2.5, True):
        with pytest.raises(ArgumentError, match="levels="):
            space.grid(levels)  # type: ignore[arg-type]


def test_a_grid_of_billions_gives_its_first_point_at_once() -> None:
    space = Space({"n": Int(1, 10**9), "m": Int(1, 10**9, log=True)})
    points = space.where(P("n") < P("m")).grid()
    assert next(points) == {"n": 1, "m": 2}


# --- sampling -------------------------------------------------------------------------------------


def test_samples_under_constraints_are_uniform_over_the_feasible_region() -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1)}).where(P("x") + P("y") <= 1)
    points = space.sample(np.random.default_rng(0), 20_000)
    x = np.array([p["x"] for p in points])
    assert all(p["x"] + p["y"] <= 1 for p in points)
    # The marginal density over the triangle is 2 (1 - x).
    for t in (0.1, 0.3, 0.6):
        assert (x <= t).mean() == pytest.approx(1 - (1 - t) ** 2, abs=0.02)


def test_every_branch_is_equally_likely() -> None:
    points = DEEP.sample(np.random.default_rng(0), 6_000)
    kinds = [p["model"][0] for p in points]
    for kind in ("dummy", "svm", "forest"):
        assert kinds.count(kind) == pytest.approx(2_000, abs=200)


def test_every_point_of_a_small_space_is_equally_likely() -> None:
    space = Space({"a": Int(1, 4), "b": Ordinal("x", "y", "z"), "c": Bool()})
    space = space.where((P("a") > 1) | P("c"), P("b") != "z")
    counts = dict.fromkeys(map(space.key, space.grid()), 0)
    n = 500 * len(counts)
    for point in space.sample(np.random.default_rng(1), n):
        counts[space.key(point)] += 1
    chi_squared = sum((count - 500) ** 2 / 500 for count in counts.values())
    assert len(counts) == 14
    assert chi_squared < 34.5, "beyond it lies one of a thousand for 13 degrees of freedom"


def test_a_thousand_points_of_ten_parameters_take_milliseconds() -> None:
    numbers = {f"x{i}": Float(1e-3, 1, log=bool(i % 2)) for i in range(4)}
    grids = {"n": Int(1, 99, log=True), "m": Int(1, 9), "s": Float(0, 1, step=0.1)}
    space = Space({**numbers, **grids, "c": Choice("a", "b"), "o": Ordinal(1, 2), "b": Bool()})
    points = space.sample(np.random.default_rng(0), 1000)
    X, _ = space.encode(points)
    for work in (
        lambda: space.sample(np.random.default_rng(0), 1000),
        lambda: space.encode(points),
        lambda: space.decode(X),
    ):
        # The best of ten: other processes may keep the machine busy.
        assert min(timeit.repeat(work, number=1, repeat=10)) < 0.02


def test_one_sample_is_a_point_and_several_are_a_list() -> None:
    rng = np.random.default_rng(0)
    assert DEEP.sample(rng) in DEEP
    assert len(DEEP.sample(rng, 3)) == 3
    assert DEEP.sample(rng, 0) == []


# --- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({}, "empty"),
        (3, "3 is a int"),
        ({"x": {"y": Float(0, 1)}}, r"Choice\(x="),
        ({"x": [1, 2]}, r"Choice\(1, 2\)"),
        ({"x": "rbf"}, r"Const\('rbf'\)"),
        ({"x": Float}, r"write Float\(...\)"),
        ({"x": object()}, "not a domain"),
        ({"a": Choice(b={"c": Bool()}), "a.b.c": Bool()}, "'a.b.c'.*'a_b_c'"),
        ({3: Bool()}, "the name 3 must be a non-empty string"),
        ({"state": Bool()}, "'state' is reserved"),
        ({"m": Choice(a={"x": 3})}, "'m.a.x' is 3"),
        ({"m": Choice(a={"b": Choice(c={"d": Bool()}), "b.c.d": Bool()})}, "'m.a.b.c.d'"),
    ],
)
def test_an_invalid_space_is_refused_with_a_remedy(params: Any, says: str) -> None:
    with pytest.raises(SpaceError, match=says):
        Space(params)


def test_reserved_names_are_free_below_the_top() -> None:
    Space({"m": Choice(a={"state": Bool(), "number": Int(1, 2)})})


# --- identity -------------------------------------------------------------------------------------


@pytest.mark.process
def test_the_fingerprint_is_stable_and_ignores_defaults() -> None:
    assert DEEP.fingerprint == ("723037938c78e835134c3e5d278c3c740a67ae50f48a1a9ec99a7c5dfe13a7a5")
    without = Space.from_yaml(re.sub(r" +default: 1.0\n", "", DEEP.to_yaml()))
    assert without != DEEP
    assert without.fingerprint == DEEP.fingerprint
    assert DEEP.where(P("lr") < 0.5).fingerprint != DEEP.fingerprint
    code = f"from tuner import Space; print(Space.from_json({DEEP.to_json()!r}).fingerprint)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == DEEP.fingerprint


# --- editing --------------------------------------------------------------------------------------


def test_a_frozen_parameter_is_fixed_and_keeps_its_form() -> None:
    space = DEEP.freeze({"model": "svm", "lr": 0.5})
    point = space.sample(np.random.default_rng(0))
    assert point["lr"] == 0.5
    assert point["model"][0] == "svm"
    assert point in DEEP
    with pytest.raises(SpaceError, match="'lr' cannot be frozen to 5"):
        DEEP.freeze({"lr": 5})
    with pytest.raises(SpaceError, match=r"'model.svm.c'; did you mean 'model.svm.C'"):
        DEEP.freeze({"model.svm.c": 1})


def test_constraints_on_a_removed_branch_are_removed() -> None:
    space = DEEP.where(P("model.svm.C") > 2, P("lr") < 0.9)
    assert [str(c) for c in space.freeze({"model": "forest"}).constraints] == ["lr < 0.9"]
    assert len(space.freeze({"model": "svm"}).constraints) == 2


def test_a_space_is_narrowed_and_widened() -> None:
    narrow = DEEP.narrow({"lr": (1e-3, 1e-2), "model": ["svm", "forest"]})
    assert narrow.params["lr"] == Float(1e-3, 1e-2, log=True)
    assert {p["model"][0] for p in narrow.sample(np.random.default_rng(0), 50)} == {
        "svm",
        "forest",
    }
    wide = narrow.widen({"lr": (1e-5, 10)})
    assert wide.params["lr"] == Float(1e-5, 10, log=True)
    with pytest.raises(SpaceError, match="use widen"):
        DEEP.narrow({"lr": (1e-6, 1)})
    with pytest.raises(SpaceError, match="use narrow"):
        DEEP.widen({"lr": (1e-3, 1)})
    with pytest.raises(SpaceError, match="unknown option 'tree'"):
        DEEP.narrow({"model": ["tree"]})
    with pytest.raises(SpaceError, match="a pair"):
        DEEP.narrow({"lr": 3})
    kept = DEEP.narrow({"model.svm.C": (2, 5)})
    assert kept.columns[2].domain == Float(2, 5, log=True), "a default that is outside is dropped"


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_points_of_a_narrowed_space_are_points_of_the_space(seed: int) -> None:
    narrow = DEEP.narrow({"lr": (1e-3, 1e-2), "model.forest.trees": (3, 7)})
    for point in narrow.sample(np.random.default_rng(seed), 20):
        assert point in DEEP
