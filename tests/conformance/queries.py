"""Conformance of a store's queries with the reference evaluator.

Subclass `QueryConformance` with a `store` fixture.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from conformance.query_evaluator import Row, find, run_row, study_row, trial_row
from conformance.query_strategies import (
    INFINITE,
    NUMBERS,
    PATTERNS,
    TEXTS,
    field_of,
    leaves,
    names,
    queries,
    runs,
    texts,
    trials,
)
from support.effort import examples
from tuner.query.result import search
from tuner.query.syntax import (
    And,
    Comparison,
    Condition,
    Key,
    Like,
    Literal,
    Membership,
    Missing,
    Not,
    Operator,
    Query,
)
from tuner.records import Failure, Goal, Run, State, StudyInfo, Trial
from tuner.registry import Registry
from tuner.tracking import Batch
from tuner.tracking.store import Store
from tuner.tracking.uuid7 import uuid7

asked = settings(
    deadline=None,
    max_examples=examples(12),
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.filterwarnings("ignore::tuner.errors.TunerWarning")  # of names that nothing has
class QueryConformance:
    """The database of a store finds the same records as the evaluator."""

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
        x = field_of("params", "x")
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
        # Each example has its own study, and searches only there.
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
        ours = Comparison(field_of("tags", "mark"), Operator.EQUAL, Literal(mark))
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
            key = Key(field_of("value"), data.draw(st.booleans()))
            ours = Comparison(field_of("tags", "mark"), Operator.EQUAL, Literal(mark))
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
        registry.delete_alias("digits", "challenger")
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
