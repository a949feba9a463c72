"""Spaces derived by freezing, narrowing and extending, and their remaining constraints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.errors import SpaceError
from tuner.search_spaces import Bool, Choice, Const, Expression, Float, Int, Ordinal, P, Space
from tuner.search_spaces.editing import without

SPACE = Space(
    {
        "lr": Float(0, 1),
        "n": Int(1, 10**9),
        "even": Int(0, 20, step=2),
        "size": Ordinal("s", "m", "l", default="s"),
        "m": Choice("none", a={"C": Float(0, 1)}, b={"d": Int(1, 3)}),
    }
)


@pytest.mark.parametrize(
    ("constraint", "left"),
    [
        ((P("m.a.C") > 0.2) & (P("lr") < 0.5), ["lr < 0.5"]),
        ((P("m.a.C") > 0.2) | (P("lr") < 0.5), []),
        (~((P("m.a.C") > 0.2) | (P("lr") < 0.5)), ["not lr < 0.5"]),
        (~((P("m.a.C") > 0.2) & (P("lr") < 0.5)), []),
        ((P("m.a.C") > P("lr")) & (P("lr") < 0.5) & (P("n") > 3), ["lr < 0.5 and n > 3"]),
        (P("m.a.C") > P("lr"), []),
        (P("m.a.C").isin([1]), []),
        (P("lr") < 0.5, ["lr < 0.5"]),
    ],
)
def test_a_constraint_on_a_removed_branch_is_reduced(
    constraint: Expression, left: list[str]
) -> None:
    space = SPACE.where(constraint)
    frozen = space.freeze({"m": "b"})
    assert [str(c) for c in frozen.constraints] == left
    assert all(point in space for point in frozen.sample(np.random.default_rng(0), 50))


truths = st.sampled_from(["p", "q", "gone"]).map(P)
conditions = st.recursive(
    truths,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda t: t[0] & t[1]),
        st.tuples(inner, inner).map(lambda t: t[0] | t[1]),
        inner.map(lambda e: ~e),
    ),
    max_leaves=8,
)


@given(conditions)
@settings(deadline=None)
def test_a_reduced_constraint_excludes_the_same_points(condition: Expression) -> None:
    left = without(condition, {"gone"})
    for p in (True, False):
        for q in (True, False):
            flat = {"p": p, "q": q}
            broken = left is not None and left.evaluate(flat) is False
            assert broken is (condition.evaluate(flat) is False)


def test_options_keep_their_order_and_their_own_default() -> None:
    assert SPACE.narrow({"size": ["l", "m"]}).params["size"] == Ordinal("m", "l")
    assert SPACE.narrow({"size": ["m", "s"]}).params["size"] == Ordinal("s", "m", default="s")
    assert SPACE.widen({"size": ["xs", "s", "m", "l"]}).params["size"] == Ordinal(
        "xs", "s", "m", "l", default="s"
    )
    mixed = Space({"c": Choice(1, True, "x", default=True)})
    assert mixed.narrow({"c": [1, "x"]}).params["c"] == Choice(1, "x")


def test_large_grids_are_compared_without_counting_them() -> None:
    assert SPACE.narrow({"n": (2, 10**8)}).params["n"] == Int(2, 10**8)
    assert SPACE.narrow({"even": Int(4, 16, step=4)}).params["even"].size == 4
    assert SPACE.widen({"even": Int(0, 20)}).params["even"].size == 21


def test_branches_are_edited_with_their_parameters() -> None:
    inner = Choice(a={"C": Float(0.2, 0.5)}, b={"d": Int(2, 2)})
    narrow = SPACE.narrow({"m": inner})
    assert narrow.params["m"] == inner
    assert narrow.widen({"m": SPACE.params["m"]}).params["m"] == SPACE.params["m"]
    assert SPACE.freeze({"m": "a", "m.a.C": 0.5}).params["m"] == Choice(a={"C": Const(0.5)})


def test_a_frozen_parameter_can_be_widened_again() -> None:
    frozen = SPACE.freeze({"lr": 0.5})
    assert frozen.widen({"lr": Float(0, 1)}) == SPACE
    assert Space({"b": Const(True)}).widen({"b": Bool()}) == Space({"b": Bool()})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"m": Choice("a")}, "'m': .* no longer be pairs"),
        ({"lr": Choice(a={}, b={})}, "'lr': .* become pairs"),
        ({"m": Choice(a={"C": Float(0, 5)})}, "'m' is .* exceeds it"),
        ({"m": Choice(a={})}, "'m' is .* exceeds it"),
        ({"m": Choice(z={})}, "'m' is .* exceeds it"),
        ({"m": ["tree"]}, "'m': unknown option 'tree'; write one of 'none'"),
        ({"size": ["m", "xl"]}, "'size' is .* exceeds it"),
        ({"size": {"m", "s"}}, "a list of options, not"),
        ({"lr": (0.5, 0.1)}, r"'lr': Float\(0.5, 0.1\)"),
        ({"lr": ("a", 0.1)}, "'lr': .* the bound 'a' must be a finite number"),
        ({"even": Int(1, 19, step=2)}, "'even' is .* exceeds it"),
        ({"even": Int(0, 20)}, "'even' is .* exceeds it"),
        ({"even": Float(0, 20)}, "'even' is .* exceeds it"),
        ({"even": Choice(0, 3)}, "'even' is .* exceeds it"),
    ],
)
def test_an_edit_that_does_not_narrow_is_refused_with_the_reason(
    change: dict[str, Any], says: str
) -> None:
    with pytest.raises(SpaceError, match=says):
        SPACE.narrow(change)
