"""Arguments of a call for an existing study: new ones take effect, known ones change nothing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tuner
from tuner import Float, State
from tuner.errors import ArgumentError, StudyNotFound, TunerWarning

SPACE = {"x": Float(0, 1)}


@pytest.fixture(autouse=True)
def _no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", TunerWarning)
        yield


def search(folder: Path, n_trials: int = 4, **options: Any) -> tuner.Study:
    call: dict[str, Any] = {
        "backend": "serial", "optimizer": "tpe", "seed": 1, "study": "s", "register": False,
        "progress": False, "space": SPACE,
    }  # fmt: skip
    call |= options
    objective = call.pop("objective", lambda params: params["x"])
    return tuner.optimize(objective, n_trials=n_trials, store=folder, **call)


def xs(study: tuner.Study) -> list[float]:
    return [trial.params["x"] for trial in study]


class TestInitial:
    def test_new_points_are_tried_next(self, tmp_path: Path) -> None:
        search(tmp_path)
        study = search(tmp_path, 7, initial=[{"x": 0.25}, {"x": 0.75}])
        assert xs(study)[4:6] == [0.25, 0.75]
        assert {t.state for t in study} == {State.COMPLETED}

    def test_the_same_call_again_changes_nothing(self, tmp_path: Path) -> None:
        points = [{"x": 0.25}, {"x": 0.5}, {"x": 0.25}]
        for _ in range(2):
            study = search(tmp_path, initial=points)
            assert xs(study)[:3] == [0.25, 0.5, 0.25]
            assert len(study.trials) == 4
        longer = search(tmp_path, 8, initial=points)
        whole = search(tmp_path / "whole", 8, initial=points)
        assert xs(longer) == xs(whole)

    def test_only_new_points_of_a_longer_list_are_tried(self, tmp_path: Path) -> None:
        search(tmp_path, initial=[{"x": 0.25}])
        study = search(tmp_path, 8, initial=[{"x": 0.25}, {"x": 0.75}])
        assert xs(study).count(0.25) == 1
        assert xs(study)[4] == 0.75

    def test_a_complete_study_warns_that_no_points_are_tried(self, tmp_path: Path) -> None:
        search(tmp_path)
        with pytest.warns(TunerWarning, match="n_trials=4 trials, so 1 new point is not tried"):
            study = search(tmp_path, initial=[{"x": 0.25}])
        assert len(study.trials) == 4

    def test_points_beyond_the_budget_wait(self, tmp_path: Path) -> None:
        study = search(tmp_path, 2, initial=[{"x": 0.1}, {"x": 0.2}, {"x": 0.3}])
        assert [t.state for t in study][2:] == [State.WAITING]
        study = search(tmp_path, 3, initial=[{"x": 0.1}, {"x": 0.2}, {"x": 0.3}])
        assert xs(study) == [0.1, 0.2, 0.3]

    def test_defaults_are_tried_first_in_a_new_study_only(self, tmp_path: Path) -> None:
        study = tuner.create_study({"x": Float(0, 1, default=0.5)}, study="s", store=tmp_path)
        trial = study.ask()
        study.tell(trial, 1.0)
        study = search(tmp_path, 4, space={"x": Float(0, 1, default=0.5)}, seed=None)
        assert 0.5 not in xs(study)[1:]


class TestTags:
    def test_new_tags_are_set_and_others_stay(self, tmp_path: Path) -> None:
        search(tmp_path, tags={"a": "1", "b": "1"})
        study = search(tmp_path, tags={"b": "2", "c": "3"})
        assert study.info.tags == {"a": "1", "b": "2", "c": "3"}
        assert tuner.load_study("s", store=tmp_path).info.tags == study.info.tags

    def test_create_study_adds_new_tags(self, tmp_path: Path) -> None:
        for tags in ({"a": "1"}, {"b": "2"}):
            study = tuner.create_study(
                SPACE, study="s", store=tmp_path, tags=tags, load_if_exists=True
            )
        assert study.info.tags == {"a": "1", "b": "2"}

    def test_a_tag_set_by_another_process_survives_the_search(self, tmp_path: Path) -> None:
        def objective(params: dict[str, float], trial: Any) -> float:
            if trial.number == 2:
                tuner.load_study("s", store=tmp_path).set_tag("team", "vision")
            return params["x"]

        study = search(tmp_path, objective=objective, tags={"a": "1"})
        assert tuner.load_study("s", store=tmp_path).info.tags == {"a": "1", "team": "vision"}
        study.set_tag("b", "2")
        assert study.info.tags == {"a": "1", "team": "vision", "b": "2"}


def test_data_is_recorded_by_a_study_without(tmp_path: Path) -> None:
    search(tmp_path)
    study = search(tmp_path, data=np.arange(3))
    assert study.info.data
    assert tuner.load_study("s", store=tmp_path).info.data == study.info.data
    with pytest.raises(tuner.errors.StudyMismatch):
        search(tmp_path, data=np.arange(4))


class TestWarmStart:
    @pytest.fixture
    def source(self, tmp_path: Path) -> tuner.Study:
        return search(tmp_path, 5, study="source", seed=7)

    @pytest.mark.parametrize("by", ["optimize", "create_study"])
    def test_earlier_trials_are_added(self, tmp_path: Path, source: tuner.Study, by: str) -> None:
        search(tmp_path)
        for _ in range(2):
            if by == "optimize":
                study = search(tmp_path, 6, warm_start="source")
            else:
                study = tuner.create_study(
                    SPACE, study="s", store=tmp_path, load_if_exists=True, warm_start="source"
                )
            for each in (study, tuner.load_study("s", store=tmp_path)):
                trials = each.info.warm_start_trials
                assert [t.params for t in trials] == [t.params for t in source]
                assert [t.number for t in trials] == [-5, -4, -3, -2, -1]

    def test_added_earlier_trials_inform_the_optimizer(self, tmp_path: Path) -> None:
        def objective(params: dict[str, float]) -> float:
            return (params["x"] - 0.123) ** 2

        search(tmp_path, 60, study="source", seed=7, objective=objective)
        search(tmp_path, 1, objective=objective)
        study = search(tmp_path, 8, objective=objective, optimizer="bayesian", warm_start="source")
        assert min(abs(x - 0.123) for x in xs(study)[1:]) < 0.02

    def test_new_trials_of_a_source_are_added(self, tmp_path: Path, source: tuner.Study) -> None:
        study = search(tmp_path, warm_start="source")
        first = study.info.warm_start_trials
        search(tmp_path, 8, study="source", seed=7)
        study = search(tmp_path, warm_start="source")
        trials = study.info.warm_start_trials
        assert [t.number for t in trials] == list(range(-8, 0))
        assert trials[3:] == first
        assert [t.params for t in trials[:3]] == [t.params for t in source][5:]

    def test_a_misspelled_source_is_an_error(self, tmp_path: Path, source: tuner.Study) -> None:
        search(tmp_path)
        with pytest.raises(StudyNotFound, match="warm_start: study 'sorce' does not exist"):
            search(tmp_path, 6, warm_start="sorce")
        with pytest.raises(ArgumentError, match="warm_start=3: pass a study name"):
            search(tmp_path, 6, warm_start=3)
        assert len(tuner.load_study("s", store=tmp_path).trials) == 4

    def test_a_missing_source_of_a_resumed_study_gives_a_warning(
        self, tmp_path: Path, source: tuner.Study
    ) -> None:
        search(tmp_path, 4, warm_start="source")
        search(tmp_path, 3, study="third", seed=9)
        said = r"'sorce' does not exist .* continues with its 5 earlier trials"
        with pytest.warns(TunerWarning, match=said):
            study = search(tmp_path, 6, warm_start=["sorce", "third"])
        assert len(study.trials) == 6
        assert len(study.info.warm_start_trials) > 5, "the other source is read"

    def test_a_study_is_not_a_source_of_itself(self, tmp_path: Path) -> None:
        search(tmp_path)
        for n_trials, source in ((6, "s"), (8, tuner.load_study("s", store=tmp_path))):
            with pytest.warns(TunerWarning, match="'s' knows its own trials already"):
                study = search(tmp_path, n_trials, warm_start=source)
            assert study.info.warm_start_trials == ()
            assert len(study.trials) == n_trials

    def test_a_source_without_fitting_trials_is_refused(self, tmp_path: Path) -> None:
        search(tmp_path)
        search(tmp_path, study="other", space={"y": Float(0, 1)}, objective=lambda p: p["y"])
        with pytest.raises(ArgumentError, match="none of the 4 completed trials"):
            search(tmp_path, 6, warm_start="other")
