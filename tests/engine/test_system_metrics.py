"""Resource use of runs: real samples of real work."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import tuner
from tuner.engine.worker.system_metrics import as_interval
from tuner.errors import ArgumentError
from tuner.records import SYSTEM, State


def busy(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def search(store: Path, objective, **options) -> tuner.Study:
    options = {"backend": "serial", "n_trials": 1, "study": "s", **options}
    return tuner.optimize(
        objective, {"x": tuner.Float(0, 1)}, seed=1, optimizer="random", store=store,
        progress=False, **options,
    )  # fmt: skip


def samples(study: tuner.Study, trial: int = 0) -> list[dict[str, float]]:
    return [
        r.metrics for _, r in study.reports(trial) if any(m.startswith(SYSTEM) for m in r.metrics)
    ]


@pytest.mark.slow
def test_a_run_is_sampled_while_it_works_and_at_its_end(tmp_path: Path) -> None:
    held = []

    def objective(params, trial):
        held.append(bytearray(64 << 20))
        for step in range(3):
            busy(0.7)  # a sample takes a second if this process has many threads, such as Ray's
            trial.report(params["x"], step)
        return params["x"]

    study = search(tmp_path, objective, system_metrics=0.2)
    found = samples(study)
    assert len(found) >= 2
    for metrics in found:
        assert {"system/cpu", "system/memory", "system/host_cpu", "system/host_memory"} <= {
            *metrics
        }
        assert all(value >= 0 for value in metrics.values())
    assert max(metrics["system/cpu"] for metrics in found) > 0.1
    assert min(metrics["system/memory"] for metrics in found) > 64
    trial = study.trials[0]
    assert [*trial.metrics] == ["value"], "they are no final metrics"
    goal = [r for _, r in study.reports(0) if "value" in r.metrics]
    assert [report.step for report in goal] == [0, 1, 2]


def test_a_short_run_has_one_sample_and_a_failed_one_too(tmp_path: Path) -> None:
    def objective(params, trial):
        if trial.number == 1:
            raise ValueError("no")
        return params["x"]

    study = search(tmp_path, objective, n_trials=2, system_metrics=True)
    assert [t.state for t in study.trials] == [State.COMPLETED, State.FAILED]
    assert [len(samples(study, n)) for n in (0, 1)] == [1, 1]


def test_system_metrics_are_off_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNER_SYSTEM_METRICS", raising=False)
    assert samples(search(tmp_path, lambda params: 1.0)) == []


def test_an_environment_variable_turns_sampling_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_SYSTEM_METRICS", "1")
    assert len(samples(search(tmp_path, lambda params: 1.0))) == 1
    for text, interval in (("", None), ("0", None), ("true", 5.0), ("0.5", 0.5), ("30", 30.0)):
        monkeypatch.setenv("TUNER_SYSTEM_METRICS", text)
        assert as_interval(None) == interval
    assert as_interval(False) is None


@pytest.mark.parametrize("wrong", [0, -1, 0.01, float("nan"), float("inf"), "often"])
def test_an_invalid_interval_is_refused(wrong) -> None:
    with pytest.raises(ArgumentError, match="system_metrics"):
        as_interval(wrong)


def test_a_time_limit_ends_the_sampling(tmp_path: Path) -> None:
    def objective(params, trial):
        if trial.number == 0:
            time.sleep(60)
        return params["x"]

    began = time.monotonic()
    study = search(tmp_path, objective, n_trials=2, trial_timeout=1, system_metrics=0.2)
    assert time.monotonic() - began < 30
    assert [t.state for t in study.trials] == [State.FAILED, State.COMPLETED]
    import threading

    assert not [t for t in threading.enumerate() if t.name == "tuner-monitor"]


@pytest.mark.ray
def test_runs_on_ray_are_sampled(tmp_path: Path, cluster: None) -> None:
    def objective(params, trial):
        for step in range(2):
            time.sleep(0.4)
            trial.report(params["x"], step)
        return params["x"]

    study = search(tmp_path, objective, n_trials=2, backend="ray", system_metrics=0.2)
    assert all(samples(study, n) for n in (0, 1))
