"""Hypothesis strategies for records and for queries that find some of them."""

from __future__ import annotations

from hypothesis import strategies as st

from tuner.query.syntax import (
    And,
    Comparison,
    Condition,
    Duration,
    Field,
    Key,
    Like,
    Literal,
    Membership,
    Missing,
    Not,
    Operator,
    Or,
    Query,
)
from tuner.records import Failure, Run, State, Trial
from tuner.tracking.uuid7 import uuid7

# Few names and few values, so that queries find some and not others.
TEXTS = [
    "svm", "SVM", "forest", "", "9", "10", "true", "null", "a%b", "a_b", "it's", "[x]", "*",
    "a\\b", "naïve ☃", "🐍", "'; DROP TABLE trials; --", "é", "z", "\x1a0000",
]  # fmt: skip
NUMBERS = [0, 1, 9, 10, 100, -1, 2**53, 2**63 - 1, 0.5, 0.1, 1.0, -0.0, 1e-300, 1e300, 5e-324]
INFINITE = [float("inf"), float("-inf"), float("nan")]
PATTERNS = ["%", "s%", "%v_", r"a\%b", r"a\_b", "_", "[x]", "*", "%'%", "a\\b", "na_ve %", "S_M"]
texts = st.sampled_from(TEXTS)
numbers = st.sampled_from(NUMBERS) | st.floats(-20, 20)
infinite = st.sampled_from(INFINITE)
scalars = st.none() | st.booleans() | numbers | texts | infinite
names = st.sampled_from(
    ["x", "model", "model.svm.C", 'quote"d', "back\\slash", "it's", "naïve", "a b", "dict", "float"]
)
leaves = scalars | st.just((64, 64)) | st.just({"x": 1})
params = st.dictionaries(names, leaves, max_size=4)
times = st.none() | st.sampled_from([1.5, 1000.0, 86400.0 * 300, 1.7e9])

trials = st.builds(
    Trial,
    number=st.just(0),
    params=params,
    state=st.sampled_from(State),
    values=st.just(()) | st.tuples(numbers | infinite),
    metrics=st.dictionaries(names, numbers | infinite, max_size=3),
    error=st.none() | st.builds(Failure, texts, texts),
    seed=st.integers(0, 2**32 - 1),
    attempts=st.integers(0, 3),
    started=times,
    ended=times,
    notes=st.dictionaries(names, leaves | st.dictionaries(names, scalars, max_size=2), max_size=2),
    constraints=st.dictionaries(names, numbers | infinite, max_size=2),
)
runs = st.builds(
    Run,
    uid=st.builds(uuid7),
    trial=st.just(0),
    attempt=st.integers(1, 3),
    state=st.sampled_from(State),
    metrics=st.dictionaries(names, numbers, max_size=2),
    worker=texts,
    host=texts,
    pid=st.none() | st.integers(1, 9),
    started=times,
    ended=times,
    output=texts,
)

_keys = st.lists(names.filter(lambda n: "." not in n), min_size=1, max_size=2)
_documents = {
    "trials": ("params", "metrics", "constraints", "tags"),
    "runs": ("params", "metrics", "constraints", "tags"),
    "studies": ("tags",),
}
_columns = {
    "trials": {
        "numbers": ("number", "value", "attempts", "seed", "duration"),
        "times": ("started", "ended"),
        "strings": ("study", "worker", "host"),
        "booleans": ("feasible",),
    },
    "runs": {
        "numbers": ("trial", "attempt", "pid", "value", "duration"),
        "times": ("started", "ended"),
        "strings": ("study", "worker", "host", "output", "uid"),
        "booleans": ("feasible",),
    },
    "studies": {
        "numbers": ("trials", "completed", "failed", "best", "seed"),
        "times": ("created",),
        "strings": ("study", "name", "metric"),
        "booleans": (),
    },
}
_operators = st.sampled_from(Operator)
_equalities = st.sampled_from([Operator.EQUAL, Operator.UNEQUAL])
_number_literals = st.builds(Literal, numbers)
_text_literals = st.builds(Literal, texts)
_durations = st.builds(Duration, st.sampled_from([-86400.0, 0.0, 3600.0, 1.0]))
_dates = st.builds(Literal, st.sampled_from(["2023-11-14", "1970-10-28T01:02", "2001-01-01 10:00"]))
_patterns = st.sampled_from(PATTERNS)


def field_of(*path: str) -> Field:
    return Field(path)


def _any_field(what: str) -> st.SearchStrategy[Field]:
    """Return fields that may hold values of any type."""
    flat = st.builds(field_of, st.sampled_from(_documents[what]), names)
    trees = ("notes", "optimizer") if what != "studies" else ("optimizer",)
    return flat | st.builds(lambda t, k: Field((t, *k)), st.sampled_from(trees), _keys)


def _tests(what: str) -> st.SearchStrategy[Condition]:
    columns = _columns[what]
    anything = _any_field(what)
    constants = _number_literals | _text_literals
    typed = {
        "numbers": (_number_literals | _durations, _operators),
        "times": (_number_literals | _durations | _dates, _operators),
        "strings": (_text_literals, _operators),
        "booleans": (st.builds(Literal, st.booleans()), _equalities),
    }
    options = [
        st.builds(Comparison, anything, _operators, constants),
        st.builds(Comparison, constants, _operators, anything),
        st.builds(Comparison, anything, _operators, anything),
        st.builds(Comparison, anything, _equalities, st.builds(Literal, st.booleans())),
        st.builds(
            Membership,
            anything,
            st.lists(constants | st.builds(Literal, st.booleans()), min_size=1, max_size=4).map(
                tuple
            ),
            st.booleans(),
        ),
        st.builds(Like, anything, _patterns, st.booleans()),
    ]
    every = anything
    for kind, (values, operators) in typed.items():
        if columns[kind]:
            field = st.sampled_from(columns[kind]).map(field_of)
            every |= field
            options.append(st.builds(Comparison, field, operators, values))
            members = st.lists(values, min_size=1, max_size=3).map(tuple)
            options.append(st.builds(Membership, field, members, st.booleans()))
    fields = st.sampled_from(columns["strings"]).map(field_of)
    options.append(st.builds(Like, fields, _patterns, st.booleans()))
    options.append(st.builds(Missing, every, st.booleans()))
    if what != "studies":
        states = st.builds(Literal, st.sampled_from([str(s) for s in State]))
        options.append(st.builds(Comparison, st.just(field_of("state")), _operators, states))
    return st.one_of(options)


def queries(what: str) -> st.SearchStrategy[Query]:
    """Return queries that can be asked of trials, runs or studies."""
    conditions: st.SearchStrategy[Condition] = st.recursive(
        _tests(what),
        lambda inner: (
            st.builds(Not, inner)
            | st.lists(inner, min_size=2, max_size=3).map(lambda c: And(tuple(c)))
            | st.lists(inner, min_size=2, max_size=3).map(lambda c: Or(tuple(c)))
        ),
        max_leaves=5,
    )
    columns = _columns[what]
    sortable = _any_field(what) | st.sampled_from(
        [name for group in columns.values() for name in group if name != "uid"]
    ).map(field_of)
    keys = st.lists(st.builds(Key, sortable, st.booleans()), max_size=2).map(tuple)
    limits = st.none() | st.integers(0, 5)
    return st.builds(Query, st.none() | conditions, keys, limits, st.integers(0, 3))
