"""Return values of objectives become metrics, or failures that name the key."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.engine.worker.outcome import BadResult, SideResults, as_metrics, as_outcome
from tuner.records import NOT_SAVED, Goal, Outcome, OutcomeConstraint, State

ONE = (Goal("value"),)
TWO = (Goal("loss"), Goal("latency"))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_returned_number_is_the_metric_of_the_goal(value: float) -> None:
    assert as_metrics(value, ONE) == {"value": value}
    assert as_metrics(np.float64(value), ONE) == {"value": value}
    assert as_metrics(np.array(value), ONE) == {"value": value}


def test_numbers_of_other_kinds_become_floats() -> None:
    for value in (3, Fraction(3), Decimal(3), np.int64(3), np.float32(3), np.array(3)):
        metrics = as_metrics(value, ONE)
        assert metrics == {"value": 3.0}
        assert type(metrics["value"]) is float


def test_a_dict_keeps_every_metric() -> None:
    assert as_outcome({"value": 1, "auc": 0.5}, ONE) == Outcome(
        State.COMPLETED, {"value": 1.0, "auc": 0.5}
    )


def test_only_goals_and_constraints_must_be_finite() -> None:
    side = {"norm": math.inf, "auc": math.nan, "none": None, "masked": np.ma.masked, "na": pd.NA}
    outcome = as_outcome({"value": 1, **side}, ONE)
    assert (outcome.state, outcome.error) == (State.COMPLETED, None)
    assert outcome.metrics.pop("norm") == math.inf
    assert outcome.metrics.pop("value") == 1.0
    assert outcome.metrics.keys() == {"auc", "none", "masked", "na"}
    assert all(map(math.isnan, outcome.metrics.values()))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None, np.ma.masked])
def test_a_constraint_that_is_not_finite_fails_the_trial_and_keeps_the_metrics(bad: object) -> None:
    limit = (OutcomeConstraint("latency", "<=", 1.0),)
    outcome = as_outcome({"value": 1.0, "latency": bad, "size": 3}, ONE, None, limit)
    assert outcome.state is State.FAILED
    assert outcome.error is not None
    assert outcome.error.kind == "NotFinite"
    assert "'latency', which must be <= 1.0, is" in outcome.error.message
    assert (outcome.metrics["value"], outcome.metrics["size"]) == (1.0, 3.0)


def test_other_values_in_a_dict_are_notes() -> None:
    matrix = np.array([[3, 1], [0, 2]])
    outcome = as_outcome({"value": 1.0, "device": "cpu", "ok": True, "confusion": matrix}, ONE)
    assert outcome == Outcome(
        State.COMPLETED,
        {"value": 1.0},
        notes={"device": "cpu", "ok": True, "confusion": [[3, 1], [0, 2]]},
    )


class Unreadable:
    shape = ()

    def item(self) -> float:
        raise RuntimeError("device lost")


@pytest.mark.parametrize(
    ("side", "says"),
    [
        ({"model": object()}, "'model': ArgumentError"),
        ({"lazy": Unreadable()}, "'lazy': RuntimeError: device lost"),
        ({"n" * 600: 1.0}, "has 600 characters"),
        ({"a\0b": 1.0}, "NUL"),
        ({"text": "x" * 2**21}, "'text': ArgumentError: notes: together they have"),
        ({str(n): 1.0 for n in range(10_001)}, "at most 10000 metrics"),
    ],
)
def test_a_side_value_that_cannot_be_recorded_leaves_the_outcome(
    side: dict[str, object], says: str
) -> None:
    outcome = as_outcome({**side, "value": 1.0}, ONE)
    assert outcome.state is State.COMPLETED
    assert outcome.metrics["value"] == 1.0
    assert outcome.error is not None
    assert outcome.error.kind == NOT_SAVED
    assert says in outcome.error.message


@pytest.mark.parametrize(
    "values", [([0.5], [0.7]), ("a", "b"), (None, 3 + 1j), (math.nan, math.inf)]
)
def test_invalid_values_of_one_kind_have_one_failure_reason(values: tuple[object, object]) -> None:
    one, two = (as_outcome(value, ONE).error for value in values)
    assert one is not None
    assert two is not None
    assert one.reason == two.reason


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
        (np.ma.masked, "NotFinite", "'value' is nan"),
        (np.ma.array(5.0, mask=True), "NotFinite", "'value' is nan"),
        (np.ma.array([1, 2], mask=True).mean(), "NotFinite", "'value' is nan"),
        (pd.NA, "NotFinite", "'value' is nan"),
        (np.timedelta64(5, "ns"), "WrongReturnType", "(timedelta64)"),
        (np.datetime64("2020-01-01", "ns"), "WrongReturnType", "(datetime64)"),
        (np.array([1.0]), "WrongReturnType", "array([1.]) (ndarray)"),
        ({"auc": 0.9}, "MissingMetric", "'value' is missing from the dict"),
        ({}, "MissingMetric", "which has nothing"),
    ],
)
def test_an_invalid_value_is_a_failure_that_names_its_key(
    returned: object, kind: str, says: str
) -> None:
    outcome = as_outcome(returned, ONE, SideResults(logged={"seen": 1.0}))
    assert outcome.state is State.FAILED
    assert outcome.metrics == {"seen": 1.0, **({"auc": 0.9} if "auc" in str(returned) else {})}
    assert outcome.error is not None
    assert outcome.error.kind == kind
    assert says in outcome.error.message


@pytest.mark.parametrize("returned", [1.0, (1.0,), (1.0, 2.0, 3.0), None, "ab"])
def test_several_goals_refuse_a_wrong_number_of_values(returned: object) -> None:
    with pytest.raises(BadResult, match="return 2 numbers"):
        as_metrics(returned, TWO)


def test_an_object_that_cannot_be_shown_is_still_named_by_its_type() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError

    with pytest.raises(BadResult, match=r"repr raised RuntimeError.*Shy"):
        as_metrics(Shy(), ONE)
