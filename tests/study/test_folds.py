"""The folds of a cross-validation are steps: bad trials stop early, and the noise is known."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, variance
from typing import Any

import pytest

import tuner
from tuner import Float, errors
from tuner.records import State

SPLITS = [(range(8), range(2))] * 5
SPACE = {"x": Float(0.0, 1.0)}


def scores(params: dict[str, Any], seed: int) -> list[float]:
    rng = random.Random(seed)
    return [params["x"] + rng.gauss(0.0, 0.1) for _ in SPLITS]


def validated(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
    folds = trial.folds(SPLITS)
    for score, _ in zip(scores(params, trial.seed), folds, strict=False):
        folds.report(score)
    return folds.mean


def search(folder: Path, objective: Any = validated, **options: Any) -> tuner.Study:
    call: dict[str, Any] = {"n_trials": 6, "seed": 0, "study": "s", "optimizer": "random"}
    call |= {"backend": "serial", "progress": False, "register": False, "store": folder}
    return tuner.optimize(objective, SPACE, **(call | options))


def test_the_value_is_the_mean_and_its_standard_error_is_recorded(tmp_path: Path) -> None:
    study = search(tmp_path)
    for trial in study:
        found = scores(trial.params, trial.seed)
        assert trial.value == pytest.approx(fmean(found))
        expected = math.sqrt(variance(found) * (1 / 5 + 1 / 4))
        assert trial.metrics["value.se"] == pytest.approx(expected)
        steps = [(r.step, r.metrics["value"]) for _, r in study.reports(trial)]
        assert steps == [(k, pytest.approx(fmean(found[: k + 1]))) for k in range(5)]


def test_the_standard_error_is_the_noise_of_a_study_without_other_knowledge(
    tmp_path: Path,
) -> None:
    study = search(tmp_path)
    pooled = math.sqrt(fmean(t.metrics["value.se"] ** 2 for t in study))
    winner = study.winner
    assert (winner.source, winner.noise) == ("folds", pytest.approx(pooled))
    assert winner.low < winner.value < winner.high
    after = study.confirm(validated, 3, backend="serial", progress=False, tolerance=0.0)
    assert (after.source, after.repeats) == ("repeats", 3)


def test_schedulers_stop_bad_trials_after_few_folds(tmp_path: Path) -> None:
    study = search(tmp_path, scheduler="median", n_trials=20)
    stopped = [t for t in study if t.state is State.STOPPED]
    assert stopped
    for trial in stopped:
        made = [report.metrics["value"] for _, report in study.reports(trial)]
        assert len(made) < 5
        assert trial.value == made[-1]


def test_retries_and_ask_and_tell_give_the_same_values(tmp_path: Path) -> None:
    whole = search(tmp_path / "whole")
    failed: set[int] = set()

    def breaks(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
        folds = trial.folds(SPLITS)
        for place, (score, _) in enumerate(zip(scores(params, trial.seed), folds, strict=False)):
            if place == 3 and trial.number not in failed:
                failed.add(trial.number)
                raise OSError("the disk is full")
            folds.report(score)
        return folds.mean

    part = search(tmp_path / "part", breaks, max_retries=1)
    assert len(failed) == 6
    assert [(t.params, t.value, t.metrics) for t in part] == [
        (t.params, t.value, t.metrics) for t in whole
    ]
    asked = tuner.create_study(SPACE, store=tmp_path / "asked", seed=0, optimizer="random")
    trial = asked.ask()
    asked.tell(trial, validated(trial.params, trial))
    assert asked.trials[0].metrics.keys() == {"value", "value.se"}


def test_each_fold_has_one_score(tmp_path: Path) -> None:
    def none(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
        for _ in trial.folds(SPLITS):
            pass
        return 0.0

    def two(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
        folds = trial.folds(SPLITS)
        for _ in folds:
            folds.report(1.0)
            folds.report(1.0)
        return 0.0

    for objective, message in ((none, "0 scores .* 1 folds"), (two, "already has a score")):
        with pytest.raises(errors.AllTrialsFailed, match=message):
            search(tmp_path / objective.__name__, objective, n_trials=1)


def test_further_metrics_of_a_fold_are_recorded_at_its_step(tmp_path: Path) -> None:
    def objective(params, trial):
        folds = trial.folds(range(2))
        for fold in folds:
            folds.report(fold, {"loss": 10.0 + fold})
        return folds.mean

    study = tuner.optimize(
        objective, {"x": tuner.Int(1, 3)}, n_trials=1, backend="serial", store=tmp_path,
        register=False, progress=False,
    )  # fmt: skip
    reported = [(report.step, report.metrics) for _, report in study.reports(0)]
    assert reported == [(0, {"value": 0.0, "loss": 10.0}), (1, {"value": 0.5, "loss": 11.0})]


def test_huge_scores_do_not_overflow(tmp_path: Path) -> None:
    def objective(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
        folds = trial.folds(range(2))
        for fold in folds:
            folds.report((1.7e308, 1.2e308)[fold])
        return folds.mean

    study = search(tmp_path, objective, n_trials=3)
    assert [t.value for t in study] == [pytest.approx(1.45e308)] * 3
    assert all("value.se" not in t.metrics for t in study.trials)


def test_splits_without_sizes_count_as_a_partition(tmp_path: Path) -> None:
    def objective(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
        def split() -> Iterator[int]:
            yield from range(4)

        folds = trial.folds(split())
        for k in folds:
            folds.report(float(k))
        return folds.mean

    (trial,) = search(tmp_path, objective, n_trials=1)
    assert trial.metrics["value.se"] == pytest.approx(math.sqrt(5 / 3 * (1 / 4 + 1 / 3)))
