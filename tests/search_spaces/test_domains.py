"""Numeric domains and domains of listed values."""

from __future__ import annotations

import itertools
from enum import IntEnum
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.errors import SpaceError
from tuner.search_spaces import Bool, Choice, Const, Float, Int, Ordinal
from tuner.testing import DomainConformance


class TestFloat(DomainConformance):
    domains = (
        Float(-1, 1),
        Float(1e-300, 1e300, log=True),
        Float(-1.7e308, 1.7e308),
        Float(0, 1, step=0.1),
        Float(0.5, 8.5, step=2, log=False),
        Float(1e-3, 1.0, log=True, default=0.1),
    )
    outsiders = (
        None,
        True,
        "0",
        float("nan"),
        1.75e308,
        10**400,
        2e308,
        -9e9 * 1e300,
        [0.5],
        object(),
    )


class TestLargeGrids(DomainConformance):
    domains = (
        Int(0, 2**32 - 1),
        Int(1, 2**40, log=True),
        Int(2**53 - 7, 2**53),
        Float(1e6, 1e6 + 1, step=1e-3),
        Float(0.3, 1e9 + 0.3, step=0.1, log=True),
    )

    def test_values_are_distinct_sorted_and_lazy(self) -> None:
        for domain in self.domains:
            values = list(itertools.islice(domain.values(), 1000))
            assert values == sorted(set(values))
            assert values[0] == domain.low


class TestInt(DomainConformance):
    domains = (Int(-3, 3), Int(5, 5), Int(1, 1000, log=True), Int(0, 30, step=10), Int(1, 9))
    outsiders = (None, True, "1", float("nan"), 0.5, 10**30, object())


class TestChoice(DomainConformance):
    domains = (Choice("a", "b"), Choice(None, True, 1, 1.0, "1", (1, "x")), Choice("only"))
    outsiders = ("z", 2, float("nan"), object(), {})


class TestOrdinal(DomainConformance):
    domains = (Ordinal("low", "high"), Ordinal(16, 32, 64, default=32))
    outsiders = ("middle", 17, None, object())


class TestBool(DomainConformance):
    domains = (Bool(), Bool(default=True))
    outsiders = (0, 1, "True", None, object())


class TestConst(DomainConformance):
    domains = (Const("auto"), Const(0.5), Const((1, 2)))
    outsiders = ("other", 1, None, object())


def test_numbers_have_the_declared_type() -> None:
    assert Float(0, 10).cast(3) == 3.0
    assert type(Float(0, 10).cast(np.float32(3))) is float
    assert type(Int(0, 10).cast(np.int64(3))) is int
    assert type(Int(0, 10).cast(3.0)) is int
    assert type(Float(0, 10).sample(np.random.default_rng(0), 1)[0]) is float
    assert type(Int(0, 10).sample(np.random.default_rng(0), 1)[0]) is int


def test_options_are_returned_as_plain_values() -> None:
    class Size(IntEnum):
        SMALL = 1

    choice = Choice(Size.SMALL, np.str_("a"), np.float32(0.5), -0.0)
    assert [type(option) for option in choice.options] == [int, str, float, float]
    assert repr(choice) == "Choice(1, 'a', 0.5, 0.0)"
    assert choice.cast(np.int8(1)) == 1


def test_domains_with_equal_declarations_are_equal() -> None:
    assert Choice(1, 2) != Choice(True, 2)
    assert Const(1) != Const(1.0)
    assert Choice("a", "b") != Choice("b", "a")
    assert Choice(a={"x": Bool(), "y": Bool()}) != Choice(a={"y": Bool(), "x": Bool()})
    assert Float(0, 1) == Float(-0.0, 1.0)
    assert hash(Float(0, 1)) == hash(Float(-0.0, 1.0))
    assert Float(0, 1) != "Float(0, 1)"


def test_a_branch_may_have_the_name_of_an_argument() -> None:
    choice = Choice(self={"x": Bool()}, options={}, name={})
    assert choice.options == ("self", "options", "name")


def test_bounds_are_included() -> None:
    rng = np.random.default_rng(0)
    assert set(Int(1, 3).sample(rng, 100)) == {1, 2, 3}
    assert set(Float(0, 1, step=0.5).sample(rng, 100)) == {0.0, 0.5, 1.0}
    assert Float(1e-3, 1.0, log=True).from_unit([0, 1]) == [1e-3, 1.0]


def test_a_log_grid_has_cells_of_its_values_own_width() -> None:
    domain = Int(1, 4, log=True)
    n = 200_000
    values = np.array(domain.sample(np.random.default_rng(0), n))
    edges = np.log([0.5, 1.5, 2.5, 3.5, 4.5])
    expected = np.diff(edges) / (edges[-1] - edges[0])
    found = np.array([(values == v).mean() for v in (1, 2, 3, 4)])
    assert np.abs(found - expected).max() < 5 / np.sqrt(n)


@given(st.floats(1e-3, 1e3), st.floats(0, 1))
@settings(deadline=None)
def test_log_floats_vary_evenly_in_their_logarithm(low: float, unit: float) -> None:
    high = low * 100
    (value,) = Float(low, high, log=True).from_unit([unit])
    assert np.log(value / low) == pytest.approx(unit * np.log(100), abs=1e-9)


def test_grid_values_are_matched_within_rounding_error() -> None:
    domain = Float(0, 1, step=0.1)
    assert domain.cast(0.1 + 0.2) == domain.grid(2)[3]
    assert not domain.contains(0.3 + 1e-14)
    assert not domain.contains(1 + 1e-14)


def test_a_grid_has_the_declared_decimals() -> None:
    assert Float(0, 1, step=0.1).grid(2) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert Float(0, 3 * 0.1, step=0.1).high == 0.3
    assert Float(1e-300, 3e-300, step=1e-300).grid(2) == [1e-300, 2e-300, 3e-300]
    assert Float(1e300, 3e300, step=1e300).grid(2) == [1e300, 2e300, 3e300]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Float(1, 0), r"write Float\(0.0, 1.0\)"),
        (lambda: Float(1, 1), r"write Const\(1.0\)"),
        (lambda: Int(3, 1), r"write Int\(1, 3\)"),
        (lambda: Float(0, 1, log=True), "0.0, 1.0, log=True.: low must be positive"),
        (lambda: Int(0, 10, log=True), "0, 10, log=True.: low must be positive"),
        (lambda: Int(0.5, 2), "the bound 0.5 must be an integer; or write Float"),
        (lambda: Float("0", 1), "the bound '0' must be a finite number"),
        (lambda: Float(True, 2), "the bound True must be a finite number"),
        (lambda: Float(0, float("nan")), "the bound nan must be a finite number"),
        (lambda: Float(0, 1, step=0), "step must be positive"),
        (
            lambda: Float(0, 1, step=0.3),
            r"1.0 is not on the grid; write Float\(0.0, 0.9, step=0.3\)",
        ),
        (lambda: Float(0, 1, step=2), r"write Float\(0.0, 2.0, step=2.0\)"),
        (lambda: Float(0, 1, step="x"), "step='x'.: step must be positive"),
        (lambda: Float(0, 1, step=True), "step must be positive"),
        (lambda: Float(0, 1, step=float("nan")), "step must be positive"),
        (lambda: Float(0, 1e10 + 0.5, step=1), "is not on the grid"),
        (lambda: Float(1, 1 + 2e-15, step=1e-15), "cannot distinguish so many values"),
        (lambda: Float(0, 10**400), "must be a finite number"),
        (lambda: Float(1, 2, log="yes"), "log must be True or False"),
        (lambda: Int(0, 5, step=float("inf")), "step must be positive"),
        (lambda: Int(0, 5, step=2.5), "step=2.5.: step must be an integer; or write Float"),
        (lambda: Int(0, 2**53 + 1), r"beyond 2\*\*53"),
        (lambda: Int(0, 2**50), "cannot distinguish so many values"),
        (lambda: Int(1, 10**15, log=True), "cannot distinguish so many values"),
        (lambda: Int(0, 10, step=3), r"write Int\(0, 9, step=3\)"),
        (lambda: Int(1, 9, step=4, log=True), "low must be above half a step"),
        (lambda: Float(0, 1, default=2), "default=2 must be in the domain"),
        (lambda: Int(0, 5, default=2.5), "default=2.5 must be in the domain"),
        (lambda: Bool(default=1), "default must be True or False"),
        (lambda: Choice(), "at least one option"),
        (lambda: Ordinal(), "at least one value"),
        (lambda: Choice("a", "b", "a"), "the option 'a' is repeated"),
        (lambda: Choice("a", a={}), "the option 'a' is repeated"),
        (lambda: Choice("a", default="b"), r"default='b' must be one of \('a',\)"),
        (lambda: Choice(object()), "an option must be None, a bool"),
        (lambda: Choice(len), "look the object up in the objective"),
        (lambda: Choice(float("nan")), "nan is not finite"),
        (lambda: Choice(3, svm={}), "the option 3 must be a non-empty string"),
        (lambda: Choice(svm=Float(0, 1)), "write a dict of its parameters, svm={}"),
        (lambda: Choice(["a", "b"]), r"write Choice\('a', 'b'\)"),
        (lambda: Ordinal(range(3)), r"write Ordinal\(0, 1, 2\)"),
        (lambda: Const([1, 2]), r"write a tuple: Const\(\(1, 2\)\)"),
        (lambda: Const((1, {2})), r"\{2\} is a set"),
        (lambda: Choice({"a": {}}), r"Choice\(option=\{'x': ...\}\)"),
        (lambda: Choice(Float(0, 1)), r"Choice\(option=\{'x': ...\}\)"),
        (lambda: Choice(default={"x": Float(0, 1)}), "cannot name a branch"),
        (lambda: Choice(**{"a.b": {}}), "'a.b' must be a non-empty string without '.'"),
        (lambda: Choice(**{"": {}}), "'' must be a non-empty string without '.'"),
    ],
)
def test_an_invalid_domain_is_refused_with_a_remedy(make: Any, says: str) -> None:
    with pytest.raises(SpaceError, match=says):
        make()
