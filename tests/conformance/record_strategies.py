"""Hypothesis strategies for the records of `tuner.records`."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from tuner.records import (
    Artifact,
    Code,
    Environment,
    Failure,
    Goal,
    OutcomeConstraint,
    Params,
    Record,
    Report,
    Run,
    State,
    StudyInfo,
    Trial,
)
from tuner.tracking.uuid7 import uuid7

# Lone surrogates and NUL included: captured output may hold anything.
texts = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["", "\x00", "\x1a0000", "\ud800", "naïve ☃ 🐍", "'; DROP TABLE trials; --", "null", "{"]
)
numbers = st.floats(width=64) | st.sampled_from([-0.0, 5e-324, 1.7976931348623157e308, 0.1])
finite = st.floats(allow_nan=False, allow_infinity=False)
times = st.none() | st.floats(0, 4e9)
states = st.sampled_from(State)
metrics = st.dictionaries(texts, numbers, max_size=3)

_leaves = st.none() | st.booleans() | st.integers(-(2**200), 2**200) | numbers | texts
_values = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(texts | st.sampled_from(["tuple", "dict", "float"]), inner, max_size=3)
    ),
    max_leaves=6,
)
params: st.SearchStrategy[Params] = st.dictionaries(texts, _values, max_size=4)

failures = st.builds(Failure, texts, texts, texts, texts)
codes = st.builds(Code, texts, texts, texts, texts, texts)
environments = st.builds(Environment, texts, texts, st.dictionaries(texts, texts, max_size=3))
# A column of numbers may know no negative zero; it is equal to the other one.
reports = st.builds(
    Report,
    st.integers(0, 2**62),
    st.dictionaries(texts, numbers.map(lambda x: x + 0.0), min_size=1, max_size=3),
)
trials = st.builds(
    Trial,
    number=st.integers(0, 2**40),
    params=params,
    state=states,
    values=st.lists(numbers, max_size=3).map(tuple),
    metrics=metrics,
    error=st.none() | failures,
    seed=st.integers(0, 2**128),
    attempts=st.integers(0, 1000),
    started=times,
    ended=times,
    notes=params,
    constraints=metrics,
)


def runs_of(trial: Trial, code: str, environment: str) -> st.SearchStrategy[Run]:
    """Return runs of `trial` with this code and environment, or without."""
    return st.builds(
        Run,
        uid=st.builds(uuid7),
        trial=st.just(trial.number),
        attempt=st.integers(1, 1000),
        state=states,
        metrics=metrics,
        error=st.none() | failures,
        worker=texts,
        host=texts,
        pid=st.none() | st.integers(1, 2**31),
        started=times,
        ended=times,
        output=texts,
        environment=st.sampled_from(["", environment]),
        code=st.sampled_from(["", code]),
    )


def artifacts_of(run: Run) -> st.SearchStrategy[Artifact]:
    """Return records of artifacts of `run`, without their files."""
    return st.builds(
        Artifact,
        name=texts,
        run=st.just(run.uid),
        path=st.builds(uuid7),
        sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
        size=st.integers(0, 2**62),
        kind=texts,
        format=texts,
    )


# Without a space: params of any shape are kept as they are.
studies = st.builds(
    StudyInfo,
    uid=st.builds(uuid7),
    name=st.builds(lambda text: f"{text}-{uuid7()}", texts),
    space=st.just({}),
    fingerprint=st.text("0123456789abcdef", max_size=64),
    goals=st.lists(
        st.builds(Goal, texts, st.sampled_from(["minimize", "maximize"])), min_size=1, max_size=3
    ).map(lambda goals: tuple(Goal.from_json(g.to_json()) for g in goals)),
    seed=st.integers(0, 2**128),
    created=st.floats(0, 4e9),
    optimizer=params,
    data=st.text("0123456789abcdef", max_size=32),
    tags=st.dictionaries(texts, texts, max_size=3),
    constraints=st.lists(
        st.builds(OutcomeConstraint, texts, st.sampled_from(["<=", ">="]), st.floats(-1e9, 1e9)),
        max_size=2,
    ).map(tuple),
    user=texts,
    notes=params,
    archived=times,
)


def exact(record: Record) -> str:
    """Return text that is equal for two records only if every bit of them is."""
    return json.dumps(record.to_json(), sort_keys=True)


def exact_all(records: Any) -> list[str]:
    """Return `exact` of each, in order."""
    return [exact(record) for record in records]


@st.composite
def ranked_histories(draw: st.DrawFn) -> list[Trial]:
    """Draw the trials of a study with one goal: ties, constraints, early stops and failures."""
    trials = []
    for number in range(draw(st.integers(0, 12))):
        state = draw(st.sampled_from([State.COMPLETED, State.STOPPED, State.FAILED]))
        values = () if state is State.FAILED else (draw(st.sampled_from([-1.0, 0.0, 0.5, 2.0])),)
        # Positive violations differ, as an optimizer breaks their ties otherwise than a user.
        violation = draw(st.sampled_from([-1.0, 0.0, 0.25 + number, 12.5 - number]))
        constraints = {"limit": violation if state is State.COMPLETED else 0.0}
        error = Failure("ValueError", "no") if state is State.FAILED else None
        told = {"error": error, "attempts": 1, "constraints": constraints}
        trials.append(Trial(number, {"x": 0.5}, state, values, **told))
    return trials
