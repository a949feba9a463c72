"""Simulated workers behave like real ones, in virtual time."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner.backends import Faults, SimulatedBackend, lognormal
from tuner.backends.protocol import Channel, Finished, Lost, Resized
from tuner.backends.simulated.model import VirtualClock
from tuner.errors import AllTrialsFailed, ArgumentError, BackendError, ResourcesError
from tuner.records import Job, Outcome, Report, State
from tuner.testing import BackendConformance
from tuner.testing.scripted_jobs import EventRecorder, completed, make_job, scripted_work


class TestSimulatedBackend(BackendConformance):
    workers = 4

    def make(self) -> SimulatedBackend:
        return SimulatedBackend(duration=0.01, workers=4)

    def test_a_job_that_takes_too_long_fails(self) -> None:
        # Its time is virtual: what sleeps or computes in reality takes none of it.
        backend = SimulatedBackend(duration=lambda trial, step, rng: 30.0 * step, workers=2)
        recorder = EventRecorder(backend)
        backend.start(scripted_work())
        slow, other = make_job(("report", 5), timeout=40.0), make_job(("report", 2), timeout=40.0)
        end, fine = recorder.run(slow, other)
        assert isinstance(end, Finished)
        assert end.outcome.error is not None
        assert end.outcome.error.kind == "Timeout"
        assert "40 s" in end.outcome.error.message
        assert recorder.reports(slow) == [0, 1]
        assert completed([fine])


def started(**options: Any) -> EventRecorder:
    backend = SimulatedBackend(**options)
    backend.start(scripted_work())
    return EventRecorder(backend)


def search(folder: Path, backend: SimulatedBackend, objective: Any = None, **options: Any):
    return tuner.optimize(
        objective or (lambda params: params["x"]),
        {"x": tuner.Float(0, 1)},
        backend=backend,
        store=folder,
        **{"seed": 0, "register": False, "progress": False, "optimizer": "random", **options},
    )


def train(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
    loss = 1.0
    for epoch in range(9):
        loss = params["x"] + 1 / (epoch + 1)
        trial.report(loss, epoch)
        if trial.should_stop():
            break
    return loss


# --- time -----------------------------------------------------------------------------------------


def test_virtual_time_advances_per_step_or_once_per_job_without_steps() -> None:
    recorder = started(duration=10.0)
    recorder.run(make_job(("report", 3)))
    assert recorder.backend.elapsed == pytest.approx(30.05, abs=0.06)
    recorder.run(make_job())
    assert recorder.backend.elapsed == pytest.approx(40.1, abs=0.11)


def test_timestamps_are_virtual(tmp_path: Path) -> None:
    backend = SimulatedBackend(duration=3600.0, workers=2)
    began = backend.clock()
    study = search(tmp_path, backend, n_trials=4)
    assert [t.started - began for t in study.trials] == [0.0, 0.0, 3600.0, 3600.0]
    assert [t.duration for t in study.trials] == [3600.0] * 4
    assert [run.ended - began for run in study.runs()] == [3600.0, 3600.0, 7200.0, 7200.0]
    assert {run.host for run in study.runs()} == {"simulated"}


def test_the_timeout_of_a_study_is_virtual(tmp_path: Path) -> None:
    backend = SimulatedBackend(duration=60.0, workers=3)
    study = search(tmp_path, backend, timeout=3600.0)
    # Jobs that were submitted ahead but had not started are left for a later call.
    states = Counter(t.state for t in study.trials)
    assert 3 * 60 <= states[State.COMPLETED] <= 3 * 61
    assert states.keys() <= {State.COMPLETED, State.WAITING}


def test_a_scheduler_sees_reports_in_the_order_of_virtual_time(tmp_path: Path) -> None:
    hours = {}
    for scheduler in (None, "asha"):
        backend = SimulatedBackend(duration=lognormal(3600.0), workers=8, seed=2)
        study = search(tmp_path / str(scheduler), backend, train, n_trials=60, scheduler=scheduler)
        hours[scheduler] = backend.elapsed / 3600
    assert hours["asha"] < 0.5 * hours[None]
    assert sum(t.state is State.STOPPED for t in study.trials) > 30
    reports = Counter(uid for uid, _ in study.reports())
    stopped = next(t for t in study.trials if t.state is State.STOPPED)
    assert reports[study.runs(stopped.number)[0].uid] < 9


def test_equal_seeds_give_equal_searches(tmp_path: Path) -> None:
    def log(folder: str) -> list[Any]:
        backend = SimulatedBackend(
            lognormal(60.0), workers=5, seed=3, faults=Faults(crash=0.05, delay=5.0, restart=9.0)
        )
        study = search(tmp_path / folder, backend, train, n_trials=30, optimizer="tpe")
        runs = [(r.trial, r.attempt, r.state, r.started, r.ended, r.worker) for r in study.runs()]
        return [*runs, *((t.params, t.values) for t in study.trials)]

    assert log("once") == log("again")


def test_durations_do_not_depend_on_faults(tmp_path: Path) -> None:
    logs = []
    for workers in (1, 7):
        backend = SimulatedBackend(lognormal(60.0), workers=workers, seed=4)
        study = search(tmp_path / str(workers), backend, n_trials=14)
        logs.append([t.duration for t in study.trials])
    assert logs[0] == pytest.approx(logs[1], abs=1e-5)


def test_a_clock_can_be_shared(tmp_path: Path) -> None:
    clock = VirtualClock(1000.0)
    search(tmp_path, SimulatedBackend(5.0, clock=clock), n_trials=2)
    assert clock() == 1010.0


# --- objectives really run ------------------------------------------------------------------------


def test_the_output_of_each_trial_is_recorded_separately(tmp_path: Path) -> None:
    def objective(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
        for step in range(3):
            print(f"{trial.number} at {step}")
            trial.report(1.0, step)
        return 1.0

    study = search(tmp_path, SimulatedBackend(lognormal(5.0), workers=4), objective, n_trials=8)
    for run in study.runs():
        assert run.output == "".join(f"{run.trial} at {step}\n" for step in range(3))
    assert sys.stdout.write.__qualname__ != "_Tee.write"


def test_failures_are_recorded_as_on_other_backends(tmp_path: Path) -> None:
    def objective(params: dict[str, Any]) -> float:
        if params["x"] < 0.5:
            raise ValueError("too small")
        return params["x"]

    study = search(tmp_path, SimulatedBackend(workers=3), objective, n_trials=20)
    for trial in study.trials:
        assert (trial.state is State.FAILED) == (trial.params["x"] < 0.5)


def test_ctrl_c_in_an_objective_passes_through() -> None:
    recorder = started()
    with pytest.raises(KeyboardInterrupt):
        recorder.run(make_job(("raise", None)))
    assert completed(recorder.run(make_job()))


def test_a_killed_objective_sends_no_further_messages() -> None:
    cleaned = []

    def work(job: Job, channel: Channel) -> Outcome:
        try:
            channel.send(Report(0, {"value": 1.0}))
        finally:
            cleaned.append(job.run)
            channel.send(Report(1, {"value": 2.0}))
        return Outcome(State.COMPLETED)

    backend = SimulatedBackend(duration=10.0)
    backend.start(work)
    job = make_job()
    backend.submit(job)
    assert backend.events(1.0) == []
    backend.stop(job.run, kill=True)
    assert backend.events(1.0) == [Lost(job.run, "ended while it ran")]
    assert backend.events(100.0) == []
    assert cleaned == [job.run]


# --- faults ---------------------------------------------------------------------------------------


def test_crashes_lose_workers_at_the_configured_rate() -> None:
    recorder = started(workers=10, faults=Faults(crash=0.2))
    ends = recorder.run(*(make_job() for _ in range(500)))
    lost = [end for end in ends if isinstance(end, Lost)]
    assert 60 <= len(lost) <= 140
    assert {end.reason for end in lost} == {"its worker died"}
    assert completed([end for end in ends if end not in lost])


def test_a_lost_worker_is_replaced_after_a_delay(tmp_path: Path) -> None:
    backend = SimulatedBackend(1.0, faults=Faults(lost=1.0, restart=100.0))
    with pytest.raises(AllTrialsFailed, match="its outcome did not arrive"):
        search(tmp_path, backend, n_trials=1, study="s")
    assert tuner.load_study("s", store=tmp_path).trials[0].attempts == 4
    assert backend.elapsed == pytest.approx(3 * 101 + 1)


def test_a_frozen_trial_is_ended_by_its_time_limit(tmp_path: Path) -> None:
    backend = SimulatedBackend(10.0, workers=2, faults=Faults(freeze=0.3))
    study = search(tmp_path, backend, n_trials=30, trial_timeout=60.0)
    frozen = [t for t in study.trials if t.state is State.FAILED]
    assert frozen
    for trial in frozen:
        assert trial.error is not None
        assert trial.error.kind == "Timeout"
        assert trial.duration == 60.0


def test_a_frozen_trial_without_a_time_limit_is_an_error(tmp_path: Path) -> None:
    backend = SimulatedBackend(10.0, faults=Faults(freeze=1.0))
    with pytest.raises(BackendError, match=r"trial 0 is frozen.*give trial_timeout"):
        search(tmp_path, backend, n_trials=3)


def test_delays_keep_the_order_of_messages_within_a_trial() -> None:
    recorder = started(duration=1.0, workers=8, faults=Faults(delay=20.0))
    jobs = [make_job(("report", 5)) for _ in range(8)]
    order: list[str] = []
    recorder.on_event = lambda event: order.append(getattr(event, "run", ""))
    recorder.run(*jobs)
    assert all(recorder.reports(job) == list(range(5)) for job in jobs)
    assert order != sorted(order)
    assert recorder.backend.elapsed > 20.0


def test_a_duplicate_end_message_counts_once(tmp_path: Path) -> None:
    backend = SimulatedBackend(10.0, workers=3, faults=Faults(duplicate=1.0))
    told: list[int] = []
    study = search(
        tmp_path, backend, n_trials=30, callbacks=[lambda study, trial: told.append(trial.number)]
    )
    assert sorted(told) == list(range(30))
    assert all(t.attempts == 1 for t in study.trials)


def test_workers_join_and_leave(tmp_path: Path) -> None:
    recorder = started(duration=10.0, workers=4, sizes=[(15.0, 1), (55.0, 3)])
    jobs = [make_job() for _ in range(14)]
    resized: list[int] = []

    def note(event: Any) -> None:
        if isinstance(event, Resized):
            resized.append(event.capacity)

    recorder.on_event = note
    ends = recorder.run(*jobs)
    assert resized == [1, 3]
    assert [end.reason for end in ends if isinstance(end, Lost)] == ["its machine left"] * 3
    # 4 until 10 s, 1 more and 3 lost, then 4 alone until 60 s or so, and the rest by threes.
    assert 60.0 <= recorder.backend.elapsed <= 81.0
    assert recorder.backend.capacity == 3


def test_a_cluster_that_never_returns_is_an_error(tmp_path: Path) -> None:
    backend = SimulatedBackend(10.0, workers=2, sizes=[(15.0, 0)])
    with pytest.raises(BackendError, match=r"nothing will ever happen.*sizes"):
        search(tmp_path, backend, n_trials=30)


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: SimulatedBackend(-1.0), r"-1\.0; write a number of seconds"),
        (lambda: SimulatedBackend(workers=0), "workers=0"),
        (lambda: SimulatedBackend(sizes=[(1.0, -1)]), "sizes="),
        (lambda: Faults(crash=1.5), r"Faults\(crash=1\.5\).*from 0 to 1"),
        (lambda: Faults(delay=float("nan")), r"Faults\(delay=nan\).*seconds"),
        (lambda: lognormal(0.0), "median above 0"),
    ],
)
def test_a_wrong_argument_is_refused_with_a_remedy(make: Any, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        make()


def test_an_invalid_duration_ends_the_search_with_a_reason(tmp_path: Path) -> None:
    backend = SimulatedBackend(lambda trial, step, rng: -5)
    with pytest.raises(ArgumentError, match="a duration is -5"):
        search(tmp_path, backend, n_trials=3)


def test_more_workers_than_available_are_refused() -> None:
    with pytest.raises(ResourcesError, match=r"workers=9.*SimulatedBackend\(workers=9\)"):
        SimulatedBackend(workers=8).start(scripted_work(), workers=9)
