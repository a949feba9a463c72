"""Earlier trials as a warm start: from every source, kept with the study, refused when wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

import tuner
from tuner import Choice, Float, Int
from tuner.errors import ArgumentError, StudyNotFound
from tuner.optimizers.optuna_adapter import to_optuna_study

SPACE = {
    "x": Float(-5, 5),
    "model": Choice("plain", deep={"layers": Int(1, 4, default=2)}),
}


def objective(params: dict[str, Any]) -> float:
    kind, options = params["model"]
    return (params["x"] - 1) ** 2 + (abs(options["layers"] - 3) if kind == "deep" else 3)


def search(folder: Path, **options: Any) -> tuner.Study:
    options = {
        "space": SPACE, "n_trials": 8, "backend": "serial", "seed": 0, "progress": False,
        "optimizer": "random", "register": False,
    } | options  # fmt: skip
    return tuner.optimize(options.pop("objective", objective), store=folder, **options)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuner.Study:
    return search(tmp_path_factory.mktemp("first"), n_trials=30, study="first")


def sources(first: tuner.Study) -> dict[str, Any]:
    return {
        "a study": first,
        "a study of Optuna": to_optuna_study(first.space, first.goals, first.trials),
        "a table": first.trials_dataframe(),
        "a list": [first, first.trials_dataframe()],
    }


@pytest.mark.parametrize("kind", ["a study", "a study of Optuna", "a table", "a list"])
def test_the_search_begins_with_earlier_trials(first, tmp_path, kind) -> None:
    study = search(
        tmp_path, warm_start=sources(first)[kind], optimizer="bayesian", study="second", n_trials=6
    )
    recorded = study.info.warm_start_trials
    times = 2 if kind == "a list" else 1
    assert [t.number for t in recorded] == list(range(-30 * times, 0))
    assert [t.params for t in recorded] == [t.params for t in first.trials] * times
    assert [t.values for t in recorded] == [t.values for t in first.trials] * times
    assert [t.number for t in study.trials] == list(range(6)), "they do not count as its trials"
    assert study.best_value < 0.5  # no start from nothing
    assert study.best_value <= first.best_value


def test_the_default_and_the_best_of_them_are_tried_first(first, tmp_path) -> None:
    study = search(tmp_path, warm_start=first)
    assert study.trials[0].params == study.space.defaults()
    assert study.trials[1].params == first.best_params


def test_a_source_is_given_by_its_name(tmp_path) -> None:
    search(tmp_path, study="first")
    study = search(tmp_path, study="second", warm_start="first")
    assert len(study.info.warm_start_trials) == 8
    with pytest.raises(StudyNotFound, match="warm_start: study 'third' does not exist"):
        search(tmp_path, study="fourth", warm_start="third")
    assert [info.name for info in tuner.list_studies(store=tmp_path)] == ["first", "second"]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["tpe", "bayesian"])
def test_an_interrupted_search_resumes_equally_without_its_source(tmp_path, optimizer) -> None:
    source = search(tmp_path / "source", n_trials=15)
    options = {"warm_start": source, "study": "s", "optimizer": optimizer}
    whole = search(tmp_path / "whole", n_trials=12, **options)
    search(tmp_path / "halves", n_trials=5, **options)
    shutil.rmtree(tmp_path / "source")
    halves = search(tmp_path / "halves", n_trials=12, **options)
    assert [t.params for t in halves] == [t.params for t in whole]


def test_an_ask_tell_loop_uses_earlier_trials(first, tmp_path) -> None:
    study = tuner.create_study(SPACE, store=tmp_path, warm_start=first, optimizer="tpe", seed=1)
    known = {study.space.key(t.params) for t in first.trials}
    trial = study.ask()
    assert study.space.key(trial.params) not in known
    study.tell(trial, 1.0)
    assert len(tuner.load_study(study.name, store=tmp_path).info.warm_start_trials) == 30


def test_another_space_takes_fitting_trials(first, tmp_path) -> None:
    space = {
        "x": Float(-5, 0),  # narrower
        "model": Choice("plain", deep={"layers": Int(1, 4), "width": Int(1, 9, default=5)}),
    }
    study = search(tmp_path, space=space, warm_start=first)
    fitting = [t for t in first.trials if t.params["x"] <= 0]
    assert 0 < len(fitting) < 30
    assert [t.values for t in study.info.warm_start_trials] == [t.values for t in fitting]
    widths = {t.params["model"][1].get("width", 5) for t in study.info.warm_start_trials}
    assert widths == {5}


def test_outcome_constraints_are_taken_over(tmp_path) -> None:
    def limited(params, trial):
        trial.report_constraint("size", params["x"])
        return objective(params)

    source = search(tmp_path / "a", objective=limited)
    study = search(tmp_path / "b", objective=limited, warm_start=source)
    assert [t.constraints for t in study.info.warm_start_trials] == [
        t.constraints for t in source.trials
    ]


class TestRefusals:
    """Before anything is recorded."""

    def refused(self, folder: Path, words: str, **options: Any) -> None:
        with pytest.raises(ArgumentError, match=words):
            search(folder / "new", study="new", **options)
        assert not (folder / "new").exists() or not tuner.list_studies(store=folder / "new")

    def test_a_missing_source_is_an_error(self, tmp_path) -> None:
        self.refused(tmp_path, "warm_start=3: pass a study name", warm_start=3)

    def test_a_source_without_fitting_trials_is_an_error(self, first, tmp_path) -> None:
        words = "none of the 30 completed trials is a point of this space: 'y' is missing"
        self.refused(tmp_path, words, warm_start=first, space={"y": Float(0, 1)})
        self.refused(
            tmp_path, r"'x' = .* is not in Float", warm_start=first, space={"x": Float(90, 99)}
        )

    def test_a_source_with_another_metric_or_direction_is_refused(self, first, tmp_path) -> None:
        self.refused(tmp_path, "has no metric 'auc'", warm_start=first, metric="auc")
        self.refused(
            tmp_path, "'minimize' for 'value', this study has 'maximize'", warm_start=first,
            direction="maximize",
        )  # fmt: skip
        theirs = optuna.create_study(direction="maximize", study_name="theirs")
        self.refused(
            tmp_path,
            "'theirs' has directions=.*maximize.*, this study has .*minimize",
            warm_start=theirs,
        )

    def test_a_table_without_values_is_refused(self, first, tmp_path) -> None:
        table = first.trials_dataframe().drop(columns="value")
        self.refused(tmp_path, "no column 'value'", warm_start=table)

    def test_an_empty_study_is_refused_as_a_source(self, tmp_path) -> None:
        empty = tuner.create_study(SPACE, store=tmp_path / "empty")
        self.refused(tmp_path, "none of the 0 completed trials", warm_start=empty)


def test_failed_and_missing_rows_of_a_table_are_left_out(first, tmp_path) -> None:
    table = first.trials_dataframe()
    table.loc[0, "state"] = "failed"
    table.loc[1, "value"] = np.nan
    table["note"] = "of no interest"
    study = search(tmp_path, warm_start=table)
    assert [t.values for t in study.info.warm_start_trials] == [t.values for t in first.trials[2:]]


def test_none_means_no_source(tmp_path: Path) -> None:
    study = tuner.create_study({"x": Float(0, 1)}, store=tmp_path, warm_start=None)
    assert study.info.warm_start_trials == ()
