"""Spaces inferred from trials: each of these trials is a point of the space."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import examples
from tuner.integrations.observed_space import ObservedSpace, Presence, can_branch
from tuner.search_spaces import Choice, Float, Int

DOMAINS = {
    "model": Choice("svm", "forest", "none"),
    "a.b": Float(0, 1),
    "kernel": Choice("rbf", "poly"),
    "value": Int(1, 9),
    "default": Choice("default", "other"),
}
VALUES = {
    "model": st.sampled_from(["svm", "forest", "none"]),
    "a.b": st.floats(0, 1),
    "kernel": st.sampled_from(["rbf", "poly"]),
    "value": st.integers(1, 9),
    "default": st.sampled_from(["default", "other"]),
}
trials = st.lists(st.fixed_dictionaries({}, optional=VALUES), min_size=1, max_size=12)


def observed(some) -> ObservedSpace:
    seen = {name: d for name, d in DOMAINS.items() if any(name in trial for trial in some)}
    presence = Presence(frozenset(name for name, d in seen.items() if can_branch(d)))
    for trial in some:
        presence.add(trial)
    return ObservedSpace(seen, presence)


def values_of(params) -> list:
    """All values of a point at any depth, without the markers of presence."""
    found = []
    for value in params.values():
        if isinstance(value, tuple):
            option, inner = value
            if option == "set":
                found += values_of(inner)
            elif option != "unset":
                found += [option, *values_of(inner)]
        else:
            found.append(value)
    return found


@pytest.mark.slow
@settings(max_examples=examples(300), deadline=None)
@given(trials.filter(any))
def test_each_observed_trial_is_a_point_of_the_space(some) -> None:
    space = observed(some)
    points = []
    for trial in some:
        fit = space.fit(trial)
        assert (fit.filled, fit.surplus) == ((), {})
        assert sorted(map(repr, values_of(fit.params))) == sorted(map(repr, trial.values()))
        points.append(fit.params)
    flat = [space.space.flatten(point) for point in points]
    assert [space.space.unflatten(one) for one in flat] == points
    space.space.encode(points)


def test_a_parameter_belongs_to_the_innermost_choice_that_explains_it() -> None:
    some = [
        {"model": "svm", "kernel": "poly", "value": 3},
        {"model": "svm", "kernel": "rbf"},
        {"model": "none"},
    ]
    params = observed(some).space.params
    assert params == {
        "model": Choice(
            svm={"kernel": Choice(rbf={}, poly={"value_": Int(1, 9)})}, forest={}, none={}
        )
    }


def test_missing_and_surplus_parameters_are_named() -> None:
    space = observed([{"model": "svm", "kernel": "rbf"}, {"model": "none"}])
    fit = space.fit({"kernel": "poly"})
    assert fit.filled == ("model",)
    short = space.fit({"model": "svm"})
    assert short.filled == ("kernel",)
    much = space.fit({"model": "none", "kernel": "poly"})
    assert (much.params, much.surplus) == ({"model": ("none", {})}, {"kernel": "poly"})
