"""Reference evaluator of queries in plain Python, with strategies for stores and queries.

`QueryConformance` compares a database with this evaluator; subclass it with a `store` fixture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from support.effort import examples
from tuner.query.result import search
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
from tuner.records import Failure, Goal, Run, State, StudyInfo, Trial
from tuner.registry import Registry
from tuner.tracking import Batch
from tuner.tracking.store import Store
from tuner.tracking.uuid7 import uuid7

# --- the evaluator --------------------------------------------------------------------------------

Row = dict[str, Any]
"""What can be asked of one match: field to value; documents and trees are dicts."""

TIMES = ("started", "ended", "created")
TREES = ("notes", "optimizer")


def find(query: Query, table: Sequence[Row], now: float) -> list[int]:
    """Return the positions of the rows that a query finds, in its order."""
    condition = query.condition
    found = [
        i
        for i, row in enumerate(table)
        if condition is None or holds(condition, lambda f, row=row: look_up(f, row), now) is True
    ]
    for key in reversed(query.order):  # sorting is stable, so the last key goes first
        found.sort(key=lambda i, key=key: _rank(look_up(key.field, table[i]), key.descending))
        if key.field.path[0] in ("value", "metrics"):  # partial results come after final ones
            found.sort(key=lambda i, key=key: not _is_final(key.field, table[i]))
    end = None if query.limit is None else query.offset + query.limit
    return found[query.offset : end]


def _is_final(field: Field, row: Row) -> bool:
    """Return whether a row has a value of the field, and that of a completed trial or run."""
    state = row.get("trial state" if field.path[0] == "value" else "state", row.get("state"))
    return state in (None, "completed") and look_up(field, row) is not None


def look_up(field: Field, row: Row) -> Any:
    """Return the value of a field, None if there is none; NaN is none."""
    first, *rest = field.path
    value = row.get(first)
    keys = rest if first in TREES else [".".join(rest)] if rest else []
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return None if value != value else value


def holds(condition: Condition, value_of: Callable[[Field], Any], now: float) -> bool | None:
    """Return whether a condition holds; None where there is nothing to compare."""

    def again(inner: Condition) -> bool | None:
        return holds(inner, value_of, now)

    match condition:
        case Not(inner):
            return _not(again(inner))
        case And(conditions):
            results = [again(each) for each in conditions]
            return False if False in results else None if None in results else True
        case Or(conditions):
            results = [again(each) for each in conditions]
            return True if True in results else None if None in results else False
        case Missing(field, negated):
            return (value_of(field) is None) != negated
        case Like(field, pattern, negated):
            value = value_of(field)
            if not isinstance(value, str):
                return None
            return (re.fullmatch(_regex(pattern), value, re.DOTALL) is not None) != negated
        case Membership(field, options, negated):
            value = value_of(field)
            if value is None:
                return None
            known = [_constant(option, field, now) for option in options]
            return any(_equal(value, each) for each in known) != negated
        case Comparison(left, operator, right):
            field = left if isinstance(left, Field) else right
            a, b = (
                value_of(side) if isinstance(side, Field) else _constant(side, field, now)
                for side in (left, right)
            )
            return _compare(a, operator, b)


def _not(result: bool | None) -> bool | None:
    return None if result is None else not result


def _constant(constant: Any, field: Field, now: float) -> Any:
    if isinstance(constant, Duration):
        return constant.seconds + (now if field.path[0] in TIMES else 0)
    if field.path[0] in TIMES and isinstance(constant.value, str):
        return datetime.fromisoformat(constant.value).timestamp()
    return constant.value


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "other"


def _equal(a: Any, b: Any) -> bool:
    if _kind(a) != _kind(b) or _kind(a) == "other":
        return False
    return float(a) == float(b) if _kind(a) == "number" else a == b


def _compare(a: Any, operator: Operator, b: Any) -> bool | None:
    if a is None or b is None:
        return None
    if operator in ("=", "!="):
        return _equal(a, b) == (operator == "=")
    if _kind(a) != _kind(b) or _kind(a) not in ("number", "string"):
        return None
    if _kind(a) == "number":
        a, b = float(a), float(b)
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator]


def _rank(value: Any, descending: bool) -> tuple[Any, ...]:
    """Return what sorts numbers first, then texts, then truths, then what has no order."""
    kind = _kind(value)
    sign = -1 if descending else 1
    if kind == "number":
        return (0, sign * float(value))
    if kind == "string":
        return (1, tuple(sign * ord(c) for c in value) + ((0,) if not descending else (1,)))
    return (2, sign * int(value)) if kind == "boolean" else (3,)


def _regex(pattern: str) -> str:
    parts = re.findall(r"\\[%_\\]|.", pattern, re.DOTALL)
    return "".join({"%": ".*", "_": "."}.get(p, re.escape(p[-1])) for p in parts)


# --- stores and queries ---------------------------------------------------------------------------

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


def _field(*path: str) -> Field:
    return Field(path)


def _any_field(what: str) -> st.SearchStrategy[Field]:
    """Return fields that may hold values of any type."""
    flat = st.builds(_field, st.sampled_from(_documents[what]), names)
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
            field = st.sampled_from(columns[kind]).map(_field)
            every |= field
            options.append(st.builds(Comparison, field, operators, values))
            members = st.lists(values, min_size=1, max_size=3).map(tuple)
            options.append(st.builds(Membership, field, members, st.booleans()))
    fields = st.sampled_from(columns["strings"]).map(_field)
    options.append(st.builds(Like, fields, _patterns, st.booleans()))
    options.append(st.builds(Missing, every, st.booleans()))
    if what != "studies":
        states = st.builds(Literal, st.sampled_from([str(s) for s in State]))
        options.append(st.builds(Comparison, st.just(_field("state")), _operators, states))
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
    ).map(_field)
    keys = st.lists(st.builds(Key, sortable, st.booleans()), max_size=2).map(tuple)
    limits = st.none() | st.integers(0, 5)
    return st.builds(Query, st.none() | conditions, keys, limits, st.integers(0, 3))


def _study(info: StudyInfo) -> Row:
    return {
        "study": info.name,
        "tags": info.tags,
        "optimizer": info.optimizer,
    }


def _feasible(trial: Trial) -> bool:
    return all(not value > 0 for value in trial.constraints.values())


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else b - a


def trial_row(info: StudyInfo, trial: Trial, last: Run | None) -> Row:
    """Return what can be asked of a trial."""
    error = (
        {} if trial.error is None else {"kind": trial.error.kind, "message": trial.error.message}
    )
    return _study(info) | {
        "number": trial.number,
        "state": trial.state.value,
        "value": trial.value,
        "params": trial.params,
        "metrics": trial.metrics,
        "constraints": trial.constraints,
        "notes": trial.notes,
        "error": error,
        "seed": trial.seed,
        "attempts": trial.attempts,
        "started": trial.started,
        "ended": trial.ended,
        "duration": _difference(trial.started, trial.ended),
        "feasible": _feasible(trial),
        "worker": (last.worker or None) if last else None,
        "host": (last.host or None) if last else None,
    }


def run_row(info: StudyInfo, trial: Trial, run: Run) -> Row:
    """Return what can be asked of a run."""
    return trial_row(info, trial, run) | {
        "trial": trial.number,
        "trial state": trial.state.value,
        "attempt": run.attempt,
        "uid": run.uid,
        "state": run.state.value,
        "metrics": run.metrics,
        "pid": run.pid,
        "output": run.output or None,
        "started": run.started,
        "ended": run.ended,
        "duration": _difference(run.started, run.ended),
    }


def study_row(info: StudyInfo, trials: Sequence[Trial]) -> Row:
    """Return what can be asked of a study."""
    values = [
        t.value
        for t in trials
        if t.state is State.COMPLETED and t.value is not None and t.value == t.value
        if _feasible(t)
    ]
    best = max if info.goal.direction == "maximize" else min
    return _study(info) | {
        "name": info.name,
        "metric": info.goal.metric,
        "seed": info.seed,
        "created": info.created,
        "trials": len(trials),
        "completed": sum(t.state is State.COMPLETED for t in trials),
        "failed": sum(t.state is State.FAILED for t in trials),
        "best": best(values, default=None),
    }


asked = settings(
    deadline=None,
    max_examples=examples(12),
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.filterwarnings("ignore::tuner.errors.TunerWarning")  # of names that nothing has
class QueryConformance:
    """What a store's database finds is what the evaluator finds."""

    @pytest.fixture
    def store(self) -> Store:
        """Give an empty store."""
        raise NotImplementedError

    def test_every_value_is_compared_with_every_other(self, store: Store) -> None:
        info = store.create_study(StudyInfo(uuid7(), "s", {}, "0", (Goal(),), 1, 1.5))
        values = [*TEXTS, *NUMBERS, *INFINITE, True, False, None, (64, 64)]
        numbered = [Trial(n, {"x": value}) for n, value in enumerate(values)]
        numbered.append(Trial(len(values), {}))
        store.write(info.uid, Batch(trials=numbered))
        rows = [trial_row(info, trial, None) for trial in numbered]
        x = _field("params", "x")
        constants = [Literal(value) for value in (*TEXTS, *NUMBERS, True, False)]
        tests: list[Condition] = [
            Comparison(x, operator, constant)
            for constant in constants
            for operator in Operator
            if operator in ("=", "!=") or not isinstance(constant.value, bool)
        ]
        tests += [Like(x, pattern, negated) for pattern in PATTERNS for negated in (False, True)]
        tests += [Membership(x, tuple(constants[::3]), negated) for negated in (False, True)]
        tests += [Missing(x), Missing(x, negated=True)]
        queries = [Query(each) for each in tests] + [Query(Not(each)) for each in tests[::5]]
        queries += [Query(None, (Key(x, descending),)) for descending in (False, True)]
        for query in queries:
            found = [trial.number for trial in search(store, str(query), study=info.uid)]
            assert found == find(query, rows, 0.0), str(query)

    @asked
    @given(data=st.data())
    def test_the_database_finds_what_the_evaluator_finds(
        self, store: Store, data: st.DataObject
    ) -> None:
        # Each example has a study of its own, and searches in that alone.
        info = StudyInfo(
            uuid7(), f"{data.draw(texts)}-{uuid7()}", {}, "0", (Goal(),), 1, 1.5,
            tags=data.draw(st.dictionaries(names, texts, max_size=2)),
            optimizer=data.draw(st.dictionaries(names, leaves, max_size=2)),
        )  # fmt: skip
        store.create_study(info)
        drawn = data.draw(st.lists(trials, min_size=1, max_size=8))
        numbered = [_numbered(trial, n) for n, trial in enumerate(drawn)]
        of_trials = [
            _belonging(run, n)
            for n in range(len(numbered))
            for run in data.draw(st.lists(runs, max_size=2))
        ]
        of_trials.sort(key=lambda run: (run.trial, run.attempt, run.uid))
        store.write(info.uid, Batch(trials=numbered))
        for run in of_trials:  # one by one, so that their rows are in this order
            store.write(info.uid, Batch(runs=[run]))
        lasts = {run.trial: run for run in of_trials}
        tables = {
            "trials": [trial_row(info, t, lasts.get(t.number)) for t in numbered],
            "runs": [run_row(info, numbered[r.trial], r) for r in of_trials],
        }
        records: dict[str, list[Any]] = {"trials": numbered, "runs": of_trials}
        for _ in range(4):
            what = data.draw(st.sampled_from(["trials", "runs"]))
            query = data.draw(queries(what))
            note(f"{what}: {query}")
            found = search(store, str(query), what=what, study=info.uid)
            positions = find(query, tables[what], datetime.now().timestamp())
            expected = [records[what][i] for i in positions]
            assert [_name(each) for each in found] == [_name(each) for each in expected]
            assert found.count() == len(expected)

    @settings(asked, max_examples=examples(8))
    @given(data=st.data())
    def test_studies_are_found(self, store: Store, data: st.DataObject) -> None:
        mark = uuid7()
        infos, rows = [], []
        for direction in data.draw(st.lists(st.sampled_from(["minimize", "maximize"]), max_size=4)):
            goal = Goal.from_json({"metric": data.draw(texts), "direction": direction})
            info = StudyInfo(
                uuid7(), f"{data.draw(texts)}-{uuid7()}", {}, "0", (goal,),
                data.draw(st.integers(0, 2**40)), data.draw(st.sampled_from([1.5, 1.7e9])),
                tags={**data.draw(st.dictionaries(names, texts, max_size=2)), "mark": mark},
                optimizer=data.draw(st.dictionaries(names, leaves, max_size=2)),
            )  # fmt: skip
            store.create_study(info)
            drawn = data.draw(st.lists(trials, max_size=4))
            numbered = [_numbered(trial, n) for n, trial in enumerate(drawn)]
            store.write(info.uid, Batch(trials=numbered))
            infos.append(info)
            rows.append(study_row(info, numbered))
        ours = Comparison(_field("tags", "mark"), Operator.EQUAL, Literal(mark))
        for _ in range(4):
            query = data.draw(queries("studies"))
            both = ours if query.condition is None else And((ours, query.condition))
            query = Query(both, query.order, query.limit, query.offset)
            note(str(query))
            expected = [infos[i].name for i in find(query, rows, datetime.now().timestamp())]
            assert [info.name for info in search(store, str(query), what="studies")] == expected

    def test_reserved_names_can_be_queried_at_any_depth(self, store: Store) -> None:
        info = StudyInfo(uuid7(), uuid7(), {}, "0", (Goal(),), 1, 1.5)
        store.create_study(info)
        notes = [{}, {"q": float("inf")}, {"q": {"float": 1.0}}, {"q": {"x": {"dict": 2.0}}}]
        store.write(
            info.uid, Batch(trials=[Trial(n, {}, notes=note) for n, note in enumerate(notes)])
        )

        def numbers(query: str) -> list[int]:
            return [trial.number for trial in search(store, query, study=info.uid)]

        assert numbers("notes.q.float >= 1.0") == [2]
        assert numbers("notes.q.x.dict = 2.0") == [3]
        assert numbers("order by value, notes.q.float limit 1") == [2]
        assert numbers("notes.q > 1e300") == [1]

    @settings(asked, max_examples=examples(8))
    @given(data=st.data())
    def test_pages_by_value_are_merged_over_studies(
        self, store: Store, data: st.DataObject
    ) -> None:
        mark = uuid7()
        rows: list[Row] = []
        for n in range(3):
            info = StudyInfo(
                uuid7(), f"{n}-{uuid7()}", {}, "0", (Goal(),), 1, 1.5, tags={"mark": mark}
            )
            store.create_study(info)
            drawn = data.draw(st.lists(trials, max_size=5))
            numbered = [_numbered(trial, n) for n, trial in enumerate(drawn)]
            store.write(info.uid, Batch(trials=numbered))
            rows += [trial_row(info, trial, None) for trial in numbered]
        for _ in range(4):
            drawn_query = data.draw(queries("trials"))
            key = Key(_field("value"), data.draw(st.booleans()))
            ours = Comparison(_field("tags", "mark"), Operator.EQUAL, Literal(mark))
            test = drawn_query.condition
            query = Query(
                ours if test is None else And((ours, test)),
                (key, *drawn_query.order),
                data.draw(st.integers(0, 8)),
                drawn_query.offset,
            )
            note(str(query))
            positions = find(query, rows, datetime.now().timestamp())
            expected = [(rows[i]["study"], rows[i]["number"]) for i in positions]
            found = [(study, trial.number) for study, trial in search(store, str(query))]
            assert found == expected

    def test_models_are_found_by_alias_version_and_value(self, store: Store) -> None:
        info = store.create_study(StudyInfo(uuid7(), "m", {}, "0", (Goal(),), 1, 1.5))
        registry = Registry(store)
        for n, value in enumerate([3.0, 1.0, 2.0]):
            trial = Trial(n, {"x": n}, State.COMPLETED, (value,))
            run = Run(uuid7(), n, state=State.COMPLETED)
            store.write(info.uid, Batch(trials=[trial], runs=[run]))
            registry.register(
                "digits", study=info, trial=trial, run=run, artifact=None, goal=Goal(), value=value
            )
        registry.set_alias("digits", "staging", 2)
        registry.set_alias("digits", "old", 1)

        def versions(query: str) -> list[int]:
            return [version.version for version in search(store, query, what="models")]

        assert versions("") == [1, 2, 3]
        assert versions("alias = 'champion'") == [2]
        assert versions("alias = 'champion' and alias = 'staging'") == [2]
        assert versions("alias != 'champion'") == [1]
        assert versions("not alias = 'champion'") == [1]
        assert versions("alias in ('old', 'staging')") == [1, 2]
        assert versions("alias not in ('old')") == [2]
        assert versions("alias like 'sta%'") == [2]
        assert versions("alias not like 'sta%'") == [1]
        assert versions("alias < 'd'") == [2]
        assert versions("not alias < 'd'") == [1]
        assert versions("alias is null") == [3]
        assert versions("model = 'digits' and value >= 2 order by value") == [3, 1]
        assert versions("params.x > 0 and version < 3") == [2]
        assert versions("study = 'm' and state = 'completed' order by version desc limit 1") == [3]

    def test_texts_that_a_database_cannot_hold_can_be_queried(self, store: Store) -> None:
        info = store.create_study(StudyInfo(uuid7(), "s", {}, "0", (Goal(),), 1, 1.5))
        bad = ["\x00", "a\x00b", "\ud800", "\udc00", "\udc00\ud800", "🐍\ud83d", "\\u0000", "\x1a"]
        store.write(
            info.uid,
            Batch(
                trials=[
                    Trial(
                        n,
                        {"text": text, text: 1, "x": n, "snake": "🐍"},
                        State.FAILED,
                        error=Failure("OSError", f"cannot read {text}"),
                        notes={"why": {"text": text}},
                    )
                    for n, text in enumerate(bad)
                ]
            ),
        )
        query = "params.x >= 3 and error.kind = 'OSError' and params.snake = '🐍' order by params.x"
        assert [trial.number for trial in search(store, query, study=info.uid)] == [3, 4, 5, 6, 7]
        for field in ("params.text", "error.message", "notes.why.text"):
            assert search(store, f"{field} like '%' order by {field}").count() == len(bad)
        assert search(store, r"params.text = '\u0000'").count() == 1

    def test_integers_beyond_double_precision_can_be_queried(self, store: Store) -> None:
        info = store.create_study(StudyInfo(uuid7(), "s", {}, "0", (Goal(),), 1, 1.5))
        large = [10**400, -(10**400), 10**308, 2**70, 3]
        trials = [Trial(n, {"x": x}) for n, x in enumerate(large)]
        store.write(info.uid, Batch(trials=trials))
        found = search(store, "params.x > 3 order by params.x desc")
        assert [match.trial.number for match in found] == [0, 2, 3]
        assert search(store, f"params.x = {2**70}").count() == 1
        assert search(store, "params.x < 3").count() == 1


def _numbered(trial: Trial, number: int) -> Trial:
    return replace(trial, number=number)


def _belonging(run: Run, trial: int) -> Run:
    return replace(run, trial=trial)


def _name(record: Any) -> Any:
    return record.number if isinstance(record, Trial) else record.uid
