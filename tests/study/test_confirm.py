"""Confirmation of a winner: repeats are runs of their trials, counted exactly and resumable."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

import tuner
from tuner import Float, errors
from tuner.records import Failure, RunPurpose, State
from tuner.tracking import schema
from tuner.tracking.batch import Batch
from tuner.tracking.uuid7 import uuid7

SPACE = {"x": Float(-1.0, 1.0)}


def noisy(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
    return params["x"] ** 2 + random.Random(trial.seed).gauss(0.0, 0.1)


def search(folder: Path, objective: Any = noisy, **options: Any) -> tuner.Study:
    call: dict[str, Any] = {"n_trials": 20, "seed": 0, "study": "s", "optimizer": "random"}
    return tuner.optimize(
        objective, SPACE, backend="serial", store=folder, progress=False, **(call | options)
    )


def confirm(study: tuner.Study, runs: int, objective: Any = noisy, **options: Any) -> Any:
    call: dict[str, Any] = {"backend": "serial", "progress": False, "tolerance": 0.0}
    return study.confirm(objective, runs, **(call | options))


def repeats(study: tuner.Study) -> list[Any]:
    return [run for run in study.runs() if run.purpose is RunPurpose.REPEAT]


@pytest.mark.slow
def test_repeats_are_runs_of_their_trials_and_change_nothing_else(tmp_path: Path) -> None:
    study = search(tmp_path)
    trials, best = list(study), study.best_trial
    winner = confirm(study, 6)
    made = repeats(study)
    assert winner.repeats == len(made) == 6
    assert (list(study), study.best_trial) == (trials, best)
    assert all(run.state is State.COMPLETED and run.seed is not None for run in made)
    for number, n in Counter(run.trial for run in made).items():
        attempts = [run.attempt for run in study.runs(number)]
        assert attempts == list(range(1, n + 2))
    assert study.winner == winner
    assert tuner.find("purpose = 'repeat'", what="runs", store=tmp_path).count() == 6


def test_the_same_repeat_of_two_trials_has_one_fresh_seed(tmp_path: Path) -> None:
    study = search(tmp_path, n_trials=5)
    confirm(study, 6)
    seeds = {}
    for run in repeats(study):
        assert run.seed not in {trial.seed for trial in study}
        assert seeds.setdefault(run.attempt, run.seed) == run.seed
    assert len(set(seeds.values())) == len(seeds) > 1


@pytest.mark.slow
def test_the_budget_is_a_total_and_a_decided_race_ends(tmp_path: Path) -> None:
    study = search(tmp_path)
    confirm(study, 4)
    confirm(study, 4)
    assert len(repeats(study)) == 4
    confirm(study, 7)
    assert len(repeats(study)) == 7
    assert confirm(study, 50, tolerance=10.0).confidence > 0.95
    assert len(repeats(study)) == 7


@pytest.mark.slow
def test_an_interrupted_race_resumes_equally(tmp_path: Path) -> None:
    whole = search(tmp_path / "whole")
    confirm(whole, 6)
    left = [3]

    def interrupted(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return noisy(params, trial)

    part = search(tmp_path / "part")
    with pytest.raises(KeyboardInterrupt):
        confirm(part, 6, interrupted)
    assert [run.state for run in repeats(part)].count(State.COMPLETED) == 3
    assert all(run.state.finished for run in repeats(part))
    confirm(part, 6)
    done = [run for run in repeats(part) if run.state is State.COMPLETED]
    values = [(r.trial, r.seed, r.metrics) for r in done]
    assert sorted(values, key=str) == sorted(
        [(r.trial, r.seed, r.metrics) for r in repeats(whole)], key=str
    )


@pytest.mark.slow
def test_a_trial_that_fails_again_leaves_the_race(tmp_path: Path) -> None:
    study = search(tmp_path)
    leader = study.winner.trial

    def fails(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
        if params == leader.params:
            raise ValueError("out of memory")
        return noisy(params, trial)

    winner = confirm(study, 8, fails)
    failed = [run for run in repeats(study) if run.state is State.FAILED]
    assert [run.trial for run in failed] == [leader.number] * 2
    assert winner.trial.number != leader.number
    assert len(repeats(study)) == winner.repeats == 8


@pytest.mark.process
def test_a_repeat_that_takes_too_long_is_a_failure(tmp_path: Path) -> None:
    study = search(tmp_path)

    def endless(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
        while not trial.should_stop():
            pass
        return 0.0

    confirm(study, 1, endless, trial_timeout=0.2, backend="processes", workers=1)
    (run,) = repeats(study)
    assert (run.state, run.error.kind) == (State.FAILED, "Timeout")


@pytest.mark.process
def test_a_race_ends_if_all_workers_die(tmp_path: Path) -> None:
    study = search(tmp_path, n_trials=1)

    def dies(params: dict[str, Any]) -> float:
        import os

        os._exit(1)

    winner = confirm(study, 3, dies, backend="processes", workers=1)
    assert winner.repeats == 0
    assert {run.error.kind for run in repeats(study)} == {"WorkerLost"}


@pytest.mark.process
def test_a_lost_worker_does_not_count(tmp_path: Path) -> None:
    study = search(tmp_path)
    flag = tmp_path / "died"

    def dies_once(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
        import os

        if not flag.exists():
            flag.touch()
            os._exit(1)
        return noisy(params, trial)

    winner = confirm(study, 3, dies_once, backend="processes", workers=2)
    lost = [run for run in repeats(study) if run.state is State.FAILED]
    assert [run.error.kind for run in lost] == ["WorkerLost"]
    assert (winner.repeats, len(repeats(study))) == (3, 4)


def test_a_seed_that_was_lost_runs_again_and_no_other_one_twice(tmp_path: Path) -> None:
    study = search(tmp_path, n_trials=5)
    confirm(study, 6)
    made = repeats(study)
    first = next(run for run in made if sum(r.trial == run.trial for r in made) > 1)
    lost = replace(first, uid=uuid7(), attempt=9, state=State.FAILED, metrics={})
    with study.store.writing() as connection:
        connection.execute(delete(schema.runs).where(schema.runs.c.uid == first.uid))
    lost = replace(lost, error=Failure("WorkerLost", "died"))
    study.store.write(study.info.uid, Batch(runs=[lost]))
    confirm(study, 9)
    done = [(run.trial, run.seed) for run in repeats(study) if run.state is State.COMPLETED]
    assert len(done) == 9
    assert len(set(done)) == len(done)


@pytest.mark.slow
def test_the_winner_is_registered(tmp_path: Path) -> None:
    study = search(tmp_path, confirm=5, register="m")
    assert len(repeats(study)) == 5
    (version,) = tuner.list_models(store=tmp_path)
    assert version.trial == study.winner.trial.number
    search(tmp_path, confirm=5, register="m")
    assert len(repeats(study)) == 5
    assert study.register("again").trial == study.winner.trial.number


@pytest.mark.slow
def test_models_of_repeats_are_not_kept(tmp_path: Path) -> None:
    def logs(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
        path = Path(tmp_path / "f.txt")
        path.write_text("x")
        trial.log_artifact(path)
        return noisy(params, trial)

    study = search(tmp_path / "store", logs, n_trials=12)
    confirm(study, 3, logs)
    made = {run.uid for run in repeats(study)}
    assert len(study.artifacts()) == 12
    assert not any(artifact.run in made for artifact in study.artifacts())


@pytest.mark.slow
def test_a_tie_goes_to_the_lower_cost_permanently(tmp_path: Path) -> None:
    def sized(params: dict[str, Any], trial: tuner.LiveTrial) -> dict[str, float]:
        return {"value": random.Random(trial.seed).gauss(0.0, 0.1), "size": params["x"]}

    study = search(tmp_path, sized)
    winner = confirm(study, 3, sized, prefer="size")
    leaders = [study.trials[e.trial] for e in winner.leaders]
    assert winner.trial.params["x"] == min(t.params["x"] for t in leaders)
    assert tuner.load_study("s", store=tmp_path).winner == winner
    assert confirm(study, 3, sized, tolerance=None).trial != winner.trial
    assert study.notes == {}
    for odd in ("a note of the user", {"mine": 1}):
        study.set_study_note("winner.rule", odd)
        assert study.winner.leaders
    study.set_study_note("winner", "a note of the user")
    assert study.winner.trial.number == study.winner.leaders[0].trial


def test_a_nan_cost_is_ignored(tmp_path: Path) -> None:
    def sized(params: dict[str, Any], trial: tuner.LiveTrial) -> dict[str, float]:
        size = trial.number if trial.number % 2 else float("nan")
        return {"value": random.Random(trial.seed).gauss(0.0, 0.1), "size": size}

    study = search(tmp_path, sized)
    winner = confirm(study, 3, sized, prefer="size", tolerance=9.0)
    assert winner.trial.number == min(e.trial for e in winner.leaders if e.trial % 2)


def test_wrong_arguments_start_nothing(tmp_path: Path) -> None:
    study = search(tmp_path)
    for options, message in (
        ({"runs": 0}, "runs=0"),
        ({"runs": None}, "runs=None"),
        ({"runs": 2, "confidence": 1.0}, "confidence=1.0"),
        ({"runs": 2, "tolerance": -1}, "tolerance=-1"),
        ({"runs": 2, "tolerance": float("nan")}, "tolerance=nan"),
        ({"runs": 2, "prefer": 3}, "prefer=3"),
        ({"runs": 2, "timeout": 0}, "timeout=0"),
    ):
        with pytest.raises(errors.ArgumentError, match=message):
            confirm(study, **options)
    with pytest.raises(errors.ArgumentError, match="confirm=0"):
        search(tmp_path, confirm=0)
    assert repeats(study) == []


def test_a_study_without_a_single_best_has_no_winner(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, study="empty", store=tmp_path)
    with pytest.raises(errors.NoCompletedTrial):
        _ = study.winner
    with pytest.raises(errors.NoCompletedTrial):
        confirm(study, 2)
    two = {"direction": ["minimize", "minimize"], "study": "two", "metric": ["a", "b"]}
    with pytest.raises(errors.ArgumentError, match="confirm=2"):
        search(tmp_path, lambda params: {"a": 1.0, "b": 2.0}, confirm=2, **two)
    study = search(tmp_path, lambda params: {"a": 1.0, "b": 2.0}, **two)
    with pytest.raises(errors.SeveralGoals):
        confirm(study, 2)


@pytest.mark.slow
def test_without_noise_the_winner_is_the_best_trial(tmp_path: Path) -> None:
    study = search(tmp_path, lambda params: params["x"] ** 2)
    assert (study.winner.trial, study.winner.noise) == (study.best_trial, 0.0)
    assert "no noise found" in repr(study.winner)
    confirm(study, 5, lambda params: params["x"] ** 2)
    assert len(repeats(study)) == 1
    assert study.winner.trial == study.best_trial


def test_the_winner_is_shown_as_a_table_in_a_notebook(tmp_path: Path) -> None:
    winner = search(tmp_path).winner
    html = winner._repr_html_()
    assert "<table" in html
    assert winner.in_words() in html
