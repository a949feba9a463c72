"""Trials whose worker is killed, crashes, runs out of memory, freezes or hangs."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.processes import gone
from tuner.backends import RayBackend
from tuner.backends.protocol import Channel, Event, Finished, Lost, Sent, Work
from tuner.backends.ray import health
from tuner.backends.ray.auth import read_settings_again
from tuner.records import Begun, Job, Outcome, State, Trial
from tuner.testing.scripted_jobs import EventRecorder, completed, is_alive

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

PATIENCE = 2.0
"""Seconds of silence until a worker's process is inspected; the default is longer."""


def faulty() -> Work:
    """Return a work that injects the fault in a job's params."""

    def run_out_of_memory() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 200 * 2**20, hard))
        try:
            bytearray(2**30)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))

    def work(job: Job, channel: Channel) -> Outcome:
        channel.send(Begun(channel.worker, "here", os.getpid(), time.time()))
        if job.trial.params["do"]:
            time.sleep(0.3)  # that it has begun, is heard of before the fault
        match job.trial.params["do"]:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(3)
            case "segfault":
                ctypes.string_at(0)
            case "abort":
                os.abort()
            case "freeze":
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(0.5)  # the signal stops one thread after the other
            case "sleep":
                time.sleep(60.0)
            case "hold":  # in native code, without letting any other thread run
                ctypes.PyDLL(None).usleep(int(job.trial.params["seconds"] * 1e6))
            case "memory":
                run_out_of_memory()
        return Outcome(State.COMPLETED)

    return work


_numbers = iter(range(10**6))


def make_job(do: str = "", seconds: float = 60.0, timeout: float | None = None) -> Job:
    number = next(_numbers)
    return Job(f"run-{number}", Trial(number, {"do": do, "seconds": seconds}), timeout=timeout)


@pytest.fixture(scope="module")
def backend(running_ray: None) -> Iterator[RayBackend]:
    """Two workers, shared by all tests here: their replacement is tested too."""
    read_settings_again()  # as the fixture `cluster` does for each test
    backend = RayBackend()
    backend.start(faulty(), workers=2)
    yield backend
    backend.close()


@pytest.fixture
def recorder(backend: RayBackend, monkeypatch: pytest.MonkeyPatch) -> EventRecorder:
    monkeypatch.setattr(health, "SILENCE", PATIENCE)
    monkeypatch.setattr(health, "FROZEN", 1.0)
    recorder = EventRecorder(backend)
    recorder.until(lambda: backend.capacity == 2)
    return recorder


@pytest.mark.parametrize("what", ["kill", "exit", "segfault", "abort"])
def test_a_worker_that_dies_is_lost_with_its_trial_and_replaced(
    recorder: EventRecorder, what: str
) -> None:
    dead, *others = jobs = [make_job(what), *(make_job() for _ in range(10))]
    lost, *ends = recorder.run(*jobs)
    assert isinstance(lost, Lost)
    assert "died" in lost.reason
    assert completed(ends)
    assert len(others) == len(ends)
    recorder.until(lambda: recorder.backend.capacity == 2)
    assert not is_alive(recorder.begun(dead).pid)


def test_a_frozen_worker_is_killed_without_a_time_limit(
    recorder: EventRecorder,
) -> None:
    frozen = make_job("freeze")
    began = time.monotonic()
    lost, *ends = recorder.run(frozen, *(make_job() for _ in range(10)))
    assert isinstance(lost, Lost)
    assert "frozen" in lost.reason
    assert completed(ends)
    assert time.monotonic() - began < PATIENCE + 20
    recorder.until(lambda: recorder.backend.capacity == 2)
    assert not is_alive(recorder.begun(frozen).pid)


def test_a_briefly_frozen_worker_is_not_killed(
    recorder: EventRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FROZEN", 60.0)
    frozen = make_job("freeze")

    def thaw(event: Event) -> None:
        if isinstance(event, Sent) and event.run == frozen.run:
            pid = recorder.begun(frozen).pid
            threading.Timer(PATIENCE + 3.0, os.kill, (pid, signal.SIGCONT)).start()

    recorder.on_event = thaw
    assert completed(recorder.run(frozen))


def test_an_objective_that_blocks_other_threads_is_not_killed(
    recorder: EventRecorder,
) -> None:
    began = time.monotonic()
    assert completed(recorder.run(make_job("hold", PATIENCE + 5.0)))
    assert time.monotonic() - began > PATIENCE + 4.0


@pytest.mark.parametrize("how", ["hold", "freeze", "sleep"])
def test_hanging_objectives_are_killed_within_five_seconds_of_their_limit(
    recorder: EventRecorder, how: str
) -> None:
    hung = [make_job(how, timeout=1.0) for _ in range(2)]
    began = time.monotonic()
    for end in recorder.run(*hung):
        assert isinstance(end, Finished)
        assert end.outcome.error is not None
        assert end.outcome.error.kind == "Timeout"
    assert time.monotonic() - began < 1.0 + 5.0
    assert completed(recorder.run(make_job()))
    # A kill takes effect after its event, later still on a busy machine.
    assert gone({recorder.begun(job).pid for job in hung if job.run in recorder.sent}, within=5.0)


def test_a_failed_memory_allocation_kills_no_worker(recorder: EventRecorder) -> None:
    refused, *ends = recorder.run(make_job("memory"), *(make_job() for _ in range(5)))
    assert isinstance(refused, Lost)  # this `work` catches nothing: what tuner runs does
    assert "MemoryError" in refused.reason
    assert completed(ends)
