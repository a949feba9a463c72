"""Spaces and outcomes for the suite of optimizers."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from tuner.records import Outcome, Params, State
from tuner.search_spaces import Bool, Choice, Const, Float, Int, Ordinal, P, Space

SQUARE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
SPACES = {
    "one float": Space({"x": Float(-1.0, 1.0)}),
    "numbers": Space(
        {
            "rate": Float(1e-5, 1.0, log=True),
            "share": Float(0.0, 1.0, step=0.25),
            "trees": Int(1, 1000, log=True),
            "even": Int(2, 20, step=2),
        }
    ),
    "categories": Space(
        {
            "kernel": Choice("rbf", "poly", None, (1, 2)),
            "same": Choice(1, 1.0, True),
            "size": Ordinal("small", "medium", "large"),
            "flag": Bool(),
            "fixed": Const("here"),
        }
    ),
    "three levels": Space(
        {
            "scaler": Choice("none", "standard"),
            "model": Choice(
                "dummy",
                svm={
                    "C": Float(1e-3, 1e3, log=True),
                    "kernel": Choice("linear", poly={"degree": Int(2, 5)}, rbf={"gamma": Bool()}),
                },
                forest={"trees": Int(10, 1000, log=True), "share": Float(0.1, 1.0)},
            ),
        }
    ),
    "constraints": Space(
        {"a": Int(0, 20), "b": Int(0, 20), "m": Choice(u={"c": Float(0.0, 20.0)}, v={})}
    ).where(P("a") <= P("b"), P("m.u.c") >= P("a")),
}
TINY = Space({"n": Int(1, 3), "m": Choice("a", b={"flag": Bool()})})  # nine points


def loss_of(space: Space, params: Params) -> float:
    """Return a loss from 0 to about d, which depends on every active parameter."""
    X, active = space.encode([params])
    return float((((X - 0.3) ** 2) * active).sum())


def outcome_at(space: Space, number: int, params: Params) -> Outcome:
    """Return the outcome of a trial: every seventh fails, every seventh is stopped."""
    if number % 7 == 3:
        return Outcome(State.FAILED)
    state = State.STOPPED if number % 7 == 5 else State.COMPLETED
    return Outcome(state, {"value": loss_of(space, params)})


def completed(value: float) -> Outcome:
    """Return the outcome of a completed trial."""
    return Outcome(State.COMPLETED, {"value": value})


def pickled(state: Any) -> bytes:
    """Return the state as bytes, to detect changes; skip the test if it cannot be pickled."""
    try:
        return pickle.dumps(state)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        pytest.skip(f"changes of the derived state cannot be detected: {error}")
