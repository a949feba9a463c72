"""Constraints: three-valued logic, round trips through text, and errors before a search."""

from __future__ import annotations

import warnings
from enum import StrEnum
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.conditions import conditions
from tuner.errors import InvalidParams, SpaceError
from tuner.search_spaces import (
    Bool,
    Choice,
    Expression,
    Float,
    Int,
    Ordinal,
    P,
    Space,
    parse_constraint,
)

values = st.one_of(st.integers(-5, 5), st.floats(-5, 5))
assignments = st.fixed_dictionaries({}, optional={"a": values, "b": values, "c": values})


@given(conditions, assignments)
@settings(deadline=None)
def test_text_and_expressions_have_the_same_meaning(
    condition: Expression, flat: dict[str, Any]
) -> None:
    again = parse_constraint(str(condition))
    assert str(again) == str(condition)
    assert again.evaluate(flat) == condition.evaluate(flat)


@given(conditions, conditions, assignments)
@settings(deadline=None)
def test_conditions_use_kleene_logic(p: Expression, q: Expression, flat: dict[str, Any]) -> None:
    a, b = p.evaluate(flat), q.evaluate(flat)
    order = {False: 0, None: 1, True: 2}
    assert order[(p & q).evaluate(flat)] == min(order[a], order[b])
    assert order[(p | q).evaluate(flat)] == max(order[a], order[b])
    assert order[(~p).evaluate(flat)] == 2 - order[a]
    assert (~(p & q)).evaluate(flat) == (~p | ~q).evaluate(flat)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 < a < 4", True),
        ("a not in [1, 2]", True),
        ("not a == 3", False),
        ("(a + b) * 2 == 14 and b // 2 == 2", True),
        ("a - (b - 4) == 3", True),
        ("2 ** -a < 1 & (b > 3)", None),
        ("-a ** 2 == -9", True),
        ("abs(-a) == 3 or nothing > 1", True),
        ("nothing > 1 or a == 4", None),
        ("nothing > 1 and a == 4", False),
        ("a / (b - 4) > 1", None),
        ("P('odd name') == 'x'", True),
        ("kind in ['x', 'y']", True),
    ],
)
def test_common_notations_are_parsed(text: str, expected: bool | None) -> None:
    flat = {"a": 3, "b": 4, "odd name": "x", "kind": "y"}
    if "&" in text:
        with pytest.raises(SpaceError, match="parentheses"):
            parse_constraint(text)
        return
    assert parse_constraint(text).evaluate(flat) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a <",
        "import os",
        "__import__('os').system('true') == 0",
        "a.b() < 1",
        "[x for x in a] == 1",
        "lambda: 1",
        "a if b else c",
        "a is b",
        "f'{a}' == 'x'",
        "a[0] < 1",
        "a in b",
        "(a := 3) < 4",
        "1j < a",
        "a < 1\x00",
        "(" * 500 + "a" + ")" * 500 + " < 1",
    ],
)
def test_text_that_is_not_a_constraint_is_not_executed(text: str) -> None:
    with pytest.raises(SpaceError, match="constraint"):
        parse_constraint(text)


def test_python_logic_is_refused_with_the_remedy() -> None:
    with pytest.raises(SpaceError, match=r"combine conditions with & \| ~"):
        _ = (P("a") < 1) and (P("b") < 2)
    with pytest.raises(SpaceError, match=r"\(a < b\) & \(b < c\)"):
        _ = 1 < P("a") < 3
    with pytest.raises(SpaceError, match="parentheses around each comparison"):
        _ = P("a") < 1 & P("b")


SPACE = Space(
    {
        "a": Int(1, 9),
        "b": Float(0, 1),
        "kind": Choice("x", "y"),
        "size": Ordinal("s", "m"),
        "on": Bool(),
        "m": Choice("none", svm={"C": Float(0.1, 10)}),
    }
)


@pytest.mark.parametrize(
    ("constraint", "says"),
    [
        (P("aa") > 1, "unknown parameter 'aa'; did you mean 'a'"),
        (P("C") > 1, "did you mean 'm.svm.C'"),
        (P("zzz") > 1, "known: a, b, kind"),
        (P("kind") < "y", "'kind' cannot be ordered"),
        (P("size") < "m", "'size' cannot be ordered"),
        (P("on") < 1, "'on' cannot be ordered"),
        (P("a") < "x", "\"'x'\" cannot be ordered"),
        (P("a") + 1, "'a [+] 1' must be a condition"),
        (3, "'3' must be a condition"),
        (P("a"), r"'a' is Int\(1, 9\), not a condition"),
        (P("kind"), "'kind' is .*, not a condition"),
        (P("a") & (P("b") < 1), "'a' is .*, not a condition"),
        (~P("b"), "'b' is .*, not a condition"),
        (P("kind") + 1 < 3, "'kind' is not always a number"),
        (-P("size") < 3, "'size' is not always a number"),
        (P("a") * "x" == "xx", "\"'x'\" is not always a number"),
        ("a > 9", "random points satisfies 'a > 9'"),
        ("b == 0.3", "never satisfy an equation of continuous parameters"),
    ],
)
def test_an_invalid_constraint_is_refused(constraint: Any, says: str) -> None:
    with pytest.raises(SpaceError, match=says):
        SPACE.where(constraint)


@pytest.mark.parametrize(
    "make",
    [
        lambda: P(""),
        lambda: P("a").isin([]),
        lambda: P("a") == object(),
        lambda: P("a") < float("nan"),
        lambda: P("a") < float("inf"),
        lambda: P("a").isin([(1, object())]),
        lambda: ~(P("a") + 1),
        lambda: (P("a") < 1) + 1,
        lambda: -(P("a") < 1),
    ],
)
def test_an_invalid_expression_is_refused(make: Any) -> None:
    with pytest.raises(SpaceError, match="constraint"):
        make()


def test_an_unsatisfiable_constraint_on_a_small_space_is_detected() -> None:
    with pytest.raises(SpaceError, match="none of its 3 points"):
        Space({"n": Int(1, 3)}).where(P("n") > 3)


def test_inactive_parameters_satisfy() -> None:
    space = SPACE.where(P("m.svm.C") > P("a"))
    point = {"a": 9, "b": 0.5, "kind": "x", "size": "s", "on": True, "m": ("none", {})}
    assert point in space
    broken = {**point, "m": ("svm", {"C": 5.0})}
    with pytest.raises(InvalidParams, match=r"m.svm.C = 5.0, a = 9 violates .*'m.svm.C > a'"):
        space.validate(broken)
    assert broken not in space
    assert not space.feasible(broken)


def test_constraints_survive_documents() -> None:
    space = SPACE.where((P("a") <= 3) | P("kind").isin(["x"]), "not (on == True and b > 0.5)")
    for again in (Space.from_json(space.to_json()), Space.from_yaml(space.to_yaml())):
        assert again == space
        rng = np.random.default_rng(0)
        assert all(space.feasible(p) for p in again.sample(rng, 100))


def test_none_is_a_value_and_not_unknown() -> None:
    space = Space({"weight": Choice(None, "balanced"), "n": Int(1, 2)})
    assert space.where(P("weight") == "balanced").size == 2
    assert space.where("weight != None").size == 2
    assert space.where(P("weight").isin([None])).size == 2
    assert {"weight": None, "n": 1} not in space.where(P("weight") == "balanced")


def test_a_boolean_parameter_is_a_condition() -> None:
    space = Space({"on": Bool(), "n": Int(1, 2)})
    assert space.where(P("on")).size == 2
    assert space.where(~P("on") | (P("n") == 1)).size == 3
    assert space.where("on and n == 1").size == 1


def test_numpy_numbers_and_enum_members_are_written_as_plain_values() -> None:
    class Kernel(StrEnum):
        RBF = "rbf"

    assert str(P("a") < np.float64(3)) == "a < 3.0"
    assert str(P("a") == np.int64(-3)) == "a == -3"
    assert str(P("k") == Kernel.RBF) == "k == 'rbf'"
    assert str(P("k") == ((1, np.int8(2)), 3)) == "k == ((1, 2), 3)"


@pytest.mark.parametrize("text", ["9 ** 9 ** 9 ** 9 > a", "a ** a ** a ** a ** a > 1"])
def test_overflowing_powers_are_unknown_immediately(text: str) -> None:
    assert parse_constraint(text).evaluate({"a": 1000}) is None
    assert parse_constraint("a ** 3 == 1000000000").evaluate({"a": 1000}) is True


def test_a_name_that_python_would_normalize_is_quoted() -> None:
    name = "\N{LATIN SMALL LIGATURE FI}t"
    assert parse_constraint(str(P(name) < 1)).paths == (name,)


@pytest.mark.parametrize(
    "text", ["(" * 5_000 + "a" + ")" * 5_000, "not " * 5_000 + "a", "-" * 9_999]
)
def test_a_constraint_nested_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(SpaceError, match="cannot be parsed"):
        parse_constraint(text)


@pytest.mark.parametrize("text", ["a < 1and b", r"a == '\='"])
def test_text_that_triggers_a_python_warning_is_refused_silently(text: str) -> None:
    with warnings.catch_warnings(record=True) as printed:
        warnings.simplefilter("always")
        with pytest.raises(SpaceError, match="cannot be parsed: invalid"):
            parse_constraint(text)
    assert not printed
