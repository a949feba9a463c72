"""Names in a query that no record has are reported; partial results sort after final ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import tuner
from tuner import Choice, Float
from tuner.cli.commands import cli
from tuner.errors import QueryError, TunerWarning
from tuner.query import parse
from tuner.tracking import open_store


@pytest.fixture(scope="module", params=["sqlite", pytest.param("pg", marks=pytest.mark.postgres)])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNER_ARTIFACTS", str(folder / "artifacts"))
        where = request.getfixturevalue("new_database")() if request.param == "pg" else folder
        store = open_store(where)
        fill(store)
        yield store
        store.close()


def fill(store: Any) -> None:
    space = {"learning_rate": Float(0, 1), "model": Choice("plain", svm={"C": Float(0, 1)})}
    study = tuner.create_study(
        space, study="s", store=store, optimizer="random", seed=0, tags={"team": "vision"}
    )
    study.enqueue({"learning_rate": 0.5, "model": ("plain", {})})
    trial = study.ask()
    study.tell(trial, {"value": 0.5, "val loss": 0.25})
    study.set_note(0, "verdict", "fine")
    tuner.create_study({"width": Float(0, 1)}, study="other", store=store)


def found(query: str, store: Any, **options: Any) -> list[Any]:
    return list(tuner.find(query, store=store, **options))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (
            "params.lr < 1",
            "no trial has params.lr; known: params.learning_rate, params.model, params.model.svm.C",
        ),
        ("params.LEARNING_RATE < 1", "did you mean params.learning_rate?"),
        ("params.c < 1", "did you mean params.model.svm.C?"),
        ("metrics.VALUE < 1", "did you mean metrics.value"),
        ("params.learning_rat < 1", "did you mean params.learning_rate?"),
        ("params.svm.C < 1", "did you mean params.model.svm.C?"),
        ("metrics.vall_loss < 1", "did you mean metrics.'val loss'?"),
        ("not metrics.acc < 1", "no trial has metrics.acc; known: "),
        ("value < 1 or metrics.acc in (1, 2)", "no trial has metrics.acc"),
        ("order by metrics.acc limit 3", "no trial has metrics.acc"),
        ("tags.taem = 'x'", "no study has tags.taem; did you mean tags.team?"),
        ("notes.verdit = 'x'", "no trial has notes.verdit; did you mean notes.verdict?"),
        ("study = 'sx' and value < 1", "no study is named 'sx'; did you mean 's'?"),
        ("value < 1 or 'othr' = study", "no study is named 'othr'; did you mean 'other'?"),
        ("optimizer.nam = 'x'", "no study has optimizer.nam; did you mean optimizer.name?"),
    ],
)
def test_an_unknown_name_gives_a_warning(store: Any, query: str, says: str) -> None:
    for read in (lambda: found(query, store), lambda: tuner.find(query, store=store).count()):
        with pytest.warns(TunerWarning) as caught:
            read()
        (said,) = {str(w.message) for w in caught if w.category is TunerWarning}
        assert says in said


@pytest.mark.parametrize(
    "query",
    [
        "", "params.learning_rate < 1", "params.model.svm.C < 1",  # no trial has it yet
        "params.width > 3", 'metrics."val loss" < 1', "metrics.acc is null",
        "not params.lr is not null", "tags.team = 'x'", "notes.verdict = 'x'",
        "constraints.latency < 1", "error.kind = 'OSError'",  # no trial has any
        "order by params.learning_rate limit 3", "study = 's'", "not study = 'third'",
        "study != 'third'", "study like 'third%'",
    ],
)  # fmt: skip
def test_known_names_give_no_warning(store: Any, query: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", TunerWarning)
        found(query, store)
        tuner.find(query, store=store).check_names()


def test_unknown_names_in_queries_of_runs_and_of_one_study(store: Any) -> None:
    with pytest.warns(TunerWarning, match="no run has metrics.acc; known: metrics.'val loss'"):
        found("metrics.acc < 1", store, what="runs")
    for what, query, says in (
        ("studies", "name = 'thers'", "no study is named 'thers'; did you mean 'other'"),
        ("runs", "study = 'thers'", "no study is named 'thers'"),
    ):
        with pytest.warns(TunerWarning, match=says):
            found(query, store, what=what)
    study = tuner.load_study("other", store=store)
    with pytest.warns(TunerWarning, match="no trial has params.learning_rate; known: params.width"):
        list(study.find("params.learning_rate < 1"))


def test_an_empty_store_gives_no_warning(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", TunerWarning)
        assert found("params.lr < 1 and metrics.acc > 0", str(tmp_path)) == []


class TestShell:
    @pytest.fixture
    def call(self, tmp_path: Path) -> Callable[..., Any]:
        fill(tmp_path)
        return lambda *args: CliRunner().invoke(cli, ["find", *args, "--store", str(tmp_path)])

    def test_a_misspelt_name_is_an_error(self, call: Callable[..., Any]) -> None:
        for more in ((), ("--count",), ("--to", "csv"), ("--study", "s")):
            done = call("params.lr < 1", *more)
            assert done.exit_code == 1
            assert "no trial has params.lr; known: params.learning_rate" in done.stderr
            assert done.stdout == ""

    def test_an_unset_label_is_only_a_warning(self, call: Callable[..., Any]) -> None:
        done = call("tags.owner = 'me'")
        assert done.exit_code == 0
        assert "tuner: warning: query: no study has tags.owner; known: tags.team" in done.stderr
        assert "no trials found" in done.stderr


@pytest.mark.parametrize(
    ("query", "position", "says"),
    [
        ("metrics.`val loss` < 1", 7, 'write metrics."val loss"'),
        ("params.model.`a b`.C = 1", 12, 'write params.model."a b"'),
        ("`metrics.val loss` < 1", 0, 'write metrics."val loss"'),
        ("value < 1 and `val` < 1", 14, "quote with ' or \""),
        ('metrics["val loss"] < 1', 7, 'write metrics."val loss"'),
        ("metrics['val loss'] < 1", 7, 'write metrics."val loss"'),
        ("metrics.[val loss] < 1", 7, 'write metrics."val loss"'),
        ("metrics.val loss < 1", 12, 'write metrics."val loss"'),
        ('metrics.`a"b` < 1', 7, 'write metrics."a""b"'),
        ("metrics.`val loss", 7, 'write metrics."val loss"'),
    ],
)
def test_a_quoted_name_gives_a_hint(query: str, position: int, says: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(query)
    assert caught.value.position == position
    assert says in str(caught.value)
    parse(says.removeprefix("write ") + " < 1") if says.startswith("write") else None


class TestPartialResults:
    """A stopped or failed trial has reported values, but no result of its objective."""

    @pytest.fixture(params=["sqlite", pytest.param("pg", marks=pytest.mark.postgres)])
    def study(
        self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> tuner.Study:
        monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path / "artifacts"))
        url = request.getfixturevalue("new_database")() if request.param == "pg" else tmp_path
        study = tuner.create_study({"x": Float(0, 1)}, study="s", store=url, optimizer="random")
        for number, (state, value) in enumerate(
            [
                ("completed", 3.0), ("stopped", 0.5), ("completed", 1.0), ("stopped", 9.0),
                ("completed", 2.0), ("failed", None),
            ]
        ):  # fmt: skip
            trial = study.ask()
            if state == "failed":
                trial.report(0.25, 0)
            study.tell(number, value, state=state)
        return study

    QUERIES = (
        ("order by value limit 3", [2, 4, 0]),
        ("order by value desc limit 3", [0, 4, 2]),
        ("order by value", [2, 4, 0, 1, 3, 5]),
        ("order by value desc", [0, 4, 2, 3, 1, 5]),
        ("order by value limit 2 offset 2", [0, 1]),
        ("value < 1 order by value limit 3", [1]),
        ("state = 'stopped' order by value limit 3", [1, 3]),
        ("order by metrics.value limit 3", [2, 4, 0]),
        ("order by metrics.value desc", [0, 4, 2, 3, 1, 5]),
        ("order by state, value limit 3", [2, 4, 0]),
    )

    def test_trials_with_only_reported_values_come_last(self, study: tuner.Study) -> None:
        for query, numbers in self.QUERIES:
            assert [trial.number for trial in study.find(query)] == numbers, query
            assert [run.trial for run in study.find(query, what="runs")] == numbers, query
        assert study.find("order by value limit 1").first() == study.best_trial
