"""Return values of objectives become metrics, or failures that name the key."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.engine.worker.outcome import BadResult, as_metrics, as_outcome
from tuner.records import Goal, State

ONE = (Goal("value"),)
TWO = (Goal("loss"), Goal("latency"))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_finite_number_is_the_goals_metric(value: float) -> None:
    assert as_metrics(value, ONE) == {"value": value}
    assert as_metrics(np.float64(value), ONE) == {"value": value}
    assert as_metrics(np.array(value), ONE) == {"value": value}


def test_numbers_of_other_kinds_become_floats() -> None:
    for value in (3, Fraction(3), np.int64(3), np.float32(3), np.array(3)):
        metrics = as_metrics(value, ONE)
        assert metrics == {"value": 3.0}
        assert type(metrics["value"]) is float


def test_a_dict_keeps_every_metric() -> None:
    assert as_metrics({"value": 1, "auc": 0.5}, ONE) == {"value": 1.0, "auc": 0.5}


def test_several_goals_take_a_sequence_or_a_dict() -> None:
    assert as_metrics((1, 2), TWO) == {"loss": 1.0, "latency": 2.0}
    assert as_metrics({"latency": 2, "loss": 1}, TWO) == {"latency": 2.0, "loss": 1.0}


@pytest.mark.parametrize(
    ("returned", "kind", "says"),
    [
        (None, "WrongReturnType", "'value' is None"),
        ("0.9", "WrongReturnType", "'value' is '0.9' (str), not a number"),
        (True, "WrongReturnType", "'value' is True (bool)"),
        (1 + 2j, "WrongReturnType", "'value' is (1+2j) (complex)"),
        ([1.0], "WrongReturnType", "'value' is [1.0] (list)"),
        (np.ones(2), "WrongReturnType", "(ndarray)"),
        ("x" * 100, "WrongReturnType", "a str"),
        (math.nan, "NotFinite", "'value' is nan"),
        (-math.inf, "NotFinite", "'value' is -inf"),
        (-(10**400), "NotFinite", "'value' is -inf"),
        ({"value": math.nan}, "NotFinite", "'value' is nan"),
        ({"value": 1.0, "auc": "good"}, "WrongReturnType", "'auc' is 'good' (str)"),
        ({"auc": 0.9}, "MissingMetric", "'value' is missing from the dict"),
        ({}, "MissingMetric", "which has nothing"),
    ],
)
def test_anything_else_is_a_failure_that_names_the_key(
    returned: object, kind: str, says: str
) -> None:
    outcome = as_outcome(returned, ONE, {"seen": 1.0})
    assert outcome.state is State.FAILED
    assert outcome.metrics == {"seen": 1.0}
    assert outcome.error is not None
    assert outcome.error.kind == kind
    assert says in outcome.error.message


@pytest.mark.parametrize("returned", [1.0, (1.0,), (1.0, 2.0, 3.0), None, "ab"])
def test_several_goals_refuse_another_number_of_values(returned: object) -> None:
    with pytest.raises(BadResult, match="return 2 numbers"):
        as_metrics(returned, TWO)


def test_an_object_that_cannot_be_shown_is_still_named_by_its_type() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError

    with pytest.raises(BadResult, match=r"repr raised RuntimeError.*Shy"):
        as_metrics(Shy(), ONE)
