"""A study in hand goes on: create, ask and tell, optimize, load, optimize further."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tuner
from support.effort import examples
from tuner import Float, Int, State, errors
from tuner.optimizers import OptunaOptimizer, RandomOptimizer, TPEOptimizer

SPACE = {"x": Float(-1, 1), "n": Int(1, 5)}
QUIET: dict[str, Any] = {"backend": "serial", "progress": False}


def objective(params: dict[str, Any]) -> float:
    return float(params["x"] ** 2 + params["n"])


def ask_and_tell(study: tuner.Study, n: int) -> None:
    for _ in range(n):
        trial = study.ask()
        study.tell(trial, objective(trial.params))


def test_all_trials_of_a_study_count_towards_n_trials(tmp_path: Path) -> None:
    calls = []

    def counted(params: dict[str, Any]) -> float:
        calls.append(params)
        return objective(params)

    study = tuner.create_study(SPACE, study="mixed", store=tmp_path, optimizer="random", seed=1)
    ask_and_tell(study, 3)
    assert study.optimize(counted, n_trials=8, **QUIET) is study
    assert len(calls) == 5
    study.optimize(counted, n_trials=8, **QUIET)
    assert len(calls) == 5, "the study has its trials"
    study.optimize(counted, n_trials=12, **QUIET)
    ask_and_tell(study, 2)
    assert len(calls) == 9
    assert [t.number for t in study] == list(range(14))
    assert {t.state for t in study} == {State.COMPLETED}
    assert len({t.params["x"] for t in study}) == 14


@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["ask", "optimize", "load", "copy"]), st.integers(1, 6)),
        max_size=6,
    ),
    optimizer=st.sampled_from(["random", "tpe", "bayesian"]),
)
@pytest.mark.slow
def test_a_search_in_several_calls_equals_one_call(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], optimizer: str
) -> None:
    folder = tmp_path_factory.mktemp("store")
    options: dict[str, Any] = {"optimizer": optimizer, "seed": 7}
    study = tuner.create_study(SPACE, study="parts", store=folder, **options)
    for step, n in [*steps, ("optimize", 2)]:
        if step == "ask":
            ask_and_tell(study, n)
        elif step == "optimize":
            study.optimize(objective, n_trials=len(study.trials) + n, register=False, **QUIET)
        elif step == "load":
            study = tuner.load_study("parts", store=folder)
        else:
            study = copy.copy(study)
    whole = tuner.optimize(
        objective, SPACE, n_trials=len(study.trials), store=folder, **options, **QUIET
    )
    assert [t.params for t in study] == [t.params for t in whole]
    assert [t.seed for t in study] == [t.seed for t in whole]


class Counting(RandomOptimizer):
    """Counts how often it is told each trial since the last reset."""

    def reset(self, space: Any, goals: Any, seed: int) -> None:
        super().reset(space, goals, seed)
        self.told: Counter[int] = Counter()

    def tell(self, trial: tuner.Trial, outcome: Any) -> None:
        super().tell(trial, outcome)
        self.told[trial.number] += 1


def test_an_optimizer_is_told_each_trial_once(tmp_path: Path) -> None:
    optimizer = Counting()
    study = tuner.create_study(SPACE, store=tmp_path, optimizer=optimizer, seed=1)
    for _ in range(2):
        ask_and_tell(study, 2)
        study.optimize(objective, n_trials=len(study.trials) + 2, **QUIET)
    copied = copy.copy(study)
    for asking in (study, copied, study, copied):
        ask_and_tell(asking, 2)
    study.ask()  # reads the trials that the copy told
    assert optimizer.told == Counter(range(16))


def test_a_new_study_tries_the_defaults_first(tmp_path: Path) -> None:
    space = {"x": Float(0, 1, default=0.25)}
    study = tuner.create_study(space, store=tmp_path, seed=1)
    study.optimize(lambda p: p["x"], n_trials=2, **QUIET)
    assert study.trials[0].params == {"x": 0.25}


def test_queued_points_are_tried_first(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, store=tmp_path, seed=1)
    study.enqueue({"x": 0.5, "n": 3})
    study.optimize(objective, n_trials=3, **QUIET)
    assert study.trials[0].params == {"x": 0.5, "n": 3}
    assert len(study.trials) == 3


def test_a_trial_that_was_asked_for_is_run_again_and_cannot_be_told(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, store=tmp_path, optimizer="tpe", seed=1)
    asked = study.ask()
    study.optimize(objective, n_trials=3, **QUIET)
    assert [t.state for t in study] == [State.COMPLETED] * 3
    assert study.trials[0].attempts == 2
    with pytest.raises(errors.TrialFinished):
        study.tell(asked, 0.5)
    assert asked.should_stop()
    assert study.ask().number == 3


def test_a_loaded_study_continues_with_its_recorded_optimizer(tmp_path: Path) -> None:
    created = tuner.create_study(
        SPACE, study="s", store=tmp_path, optimizer=TPEOptimizer(n_startup=3), seed=2
    )
    created.optimize(objective, n_trials=4, **QUIET)
    loaded = tuner.load_study("s", store=tmp_path).optimize(objective, n_trials=9, **QUIET)
    assert loaded.info.optimizer["n_startup"] == 3
    whole = tuner.optimize(
        objective, SPACE, n_trials=9, store=tmp_path, seed=2, study="whole",
        optimizer=TPEOptimizer(n_startup=3), **QUIET,
    )  # fmt: skip
    assert [t.params for t in loaded] == [t.params for t in whole]


def test_a_loaded_study_accepts_another_optimizer_and_a_scheduler(tmp_path: Path) -> None:
    def steps(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
        for step in range(9):
            trial.report(params["x"], step)
            if trial.should_stop():
                break
        return params["x"]

    tuner.create_study(SPACE, study="own", store=tmp_path, optimizer=OptunaOptimizer(), seed=0)
    with pytest.raises(errors.UnknownOptimizer, match=r"load_study\('own', optimizer="):
        tuner.load_study("own", store=tmp_path).optimize(steps, n_trials=2, **QUIET)
    study = tuner.load_study("own", store=tmp_path, optimizer="random", scheduler="median")
    study.optimize(steps, n_trials=30, **QUIET)
    assert State.STOPPED in {t.state for t in study}
    assert study.info.optimizer["name"] == "random"


def test_a_running_search_locks_the_study(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, store=tmp_path, optimizer="tpe", seed=1)
    ask_and_tell(study, 2)
    refused = []

    def callback(running: tuner.Study, trial: tuner.Trial) -> None:
        assert running is study
        for call in (
            running.ask,
            lambda: running.optimize(objective, n_trials=99, **QUIET),
        ):
            with pytest.raises(errors.StudyBusy, match="is being optimized by this process"):
                call()
            refused.append(trial.number)
        if trial.number == 5:
            running.stop()

    study.optimize(objective, n_trials=20, callbacks=[callback], **QUIET)
    assert refused == [number for number in range(2, 6) for _ in range(2)]
    assert [t.number for t in study] == list(range(6))
    whole = tuner.optimize(
        objective, SPACE, n_trials=6, store=tmp_path, optimizer="tpe", seed=1, **QUIET
    )
    assert [t.params for t in study] == [t.params for t in whole]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_trials": 0}, "n_trials=0"),
        ({"timeout": -1}, "timeout=-1"),
        ({"backend": "rya"}, "backend='rya'"),
        ({"workers": 1.5}, "workers=1.5"),
        ({"register": ""}, "register=''"),
        ({"keep_models": 0}, "keep_models=0"),
        ({"max_retries": -1}, "max_retries=-1"),
        ({"deterministic": True}, "deterministic=True"),
    ],
)
@pytest.mark.slow
def test_a_wrong_call_starts_nothing(tmp_path: Path, options: dict[str, Any], match: str) -> None:
    study = tuner.create_study(SPACE, store=tmp_path / "a", scheduler="median", seed=1)
    with pytest.raises(errors.ArgumentError, match=match):
        study.optimize(objective, **{**QUIET, "n_trials": 2} | options)
    assert study.trials == []
    with pytest.raises(errors.ArgumentError, match=match):
        tuner.optimize(
            objective, SPACE, scheduler="median", store=tmp_path / "b",
            **{**QUIET, "n_trials": 2} | options,
        )  # fmt: skip
    assert not (tmp_path / "b").exists()


def test_a_wrong_objective_starts_nothing(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, store=tmp_path, seed=1)
    with pytest.raises(errors.ObjectiveError):
        study.optimize(lambda: 1.0, n_trials=2, **QUIET)
    assert study.trials == []


def test_several_goals_register_nothing(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, store=tmp_path, direction=["minimize", "maximize"], seed=1)
    with pytest.raises(errors.ArgumentError, match="no single best trial"):
        study.optimize(lambda p: (p["x"], p["n"]), n_trials=3, register="m", **QUIET)
    study.optimize(lambda p: (p["x"], p["n"]), n_trials=3, **QUIET)
    assert study.best_trials
    assert tuner.list_models(store=tmp_path) == []


def test_the_winner_is_registered_and_only_the_best_models_are_kept(tmp_path: Path) -> None:
    def fit(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
        trial.log_model({"x": params["x"]})
        return objective(params)

    study = tuner.create_study(SPACE, study="kept", store=tmp_path, optimizer="random", seed=1)
    study.optimize(fit, n_trials=6, register="model", keep_models=3, **QUIET)
    assert len(study.artifacts()) == 3
    (version,) = tuner.list_models(store=tmp_path)
    assert (version.name, version.trial) == ("model", study.best_trial.number)
    assert study.keep_models(1) == 2
    assert [a.name for a in study.artifacts()] == ["model"]


# --- one word for the name ------------------------------------------------------------------------


def test_the_deprecated_argument_for_the_study_name_works(tmp_path: Path) -> None:
    with pytest.warns(
        DeprecationWarning, match="create_study: name= is deprecated; write study="
    ) as seen:
        created = tuner.create_study(SPACE, name="old", store=tmp_path)  # type: ignore[call-arg]
    assert seen[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="load_study"):
        loaded = tuner.load_study(name="old", store=tmp_path)  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match="optimize"):
        optimized = tuner.optimize(  # type: ignore[call-arg]
            objective, SPACE, name="old", store=tmp_path, n_trials=1, **QUIET
        )
    assert created.name == loaded.name == optimized.name == "old"
    assert len(created.trials) == 1


def test_two_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.ArgumentError, match="write only study="):
        tuner.create_study(SPACE, study="a", name="b", store=tmp_path)  # type: ignore[call-arg]


@pytest.mark.parametrize("bad", ["", " ", "a/b", 3])
def test_the_three_calls_refuse_the_same_names(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(errors.ArgumentError, match="study="):
        tuner.create_study(SPACE, study=bad, store=tmp_path)
    with pytest.raises(errors.ArgumentError, match="study="):
        tuner.optimize(objective, SPACE, study=bad, store=tmp_path, n_trials=1, **QUIET)
    with pytest.raises((errors.StudyNotFound, errors.ArgumentError)):
        tuner.load_study(bad, store=tmp_path)
