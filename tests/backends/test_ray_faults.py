"""What becomes of trials whose worker is killed, crashes, runs out of memory, freezes or hangs."""

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

from conformance.backend_watch import Watch, completed, is_alive
from tuner.backends import RayBackend
from tuner.backends.protocol import Channel, Event, Finished, Lost, Sent, Work
from tuner.backends.ray import health
from tuner.backends.ray.auth import read_settings_again
from tuner.records import Begun, Job, Outcome, State, Trial

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

PATIENCE = 2.0
"""Seconds of silence until a worker's process is looked at; in earnest it is more."""


def faulty() -> Work:
    """Return a work that does to its process what a job's params say."""

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


def a_job(do: str = "", seconds: float = 60.0, timeout: float | None = None) -> Job:
    number = next(_numbers)
    return Job(f"run-{number}", Trial(number, {"do": do, "seconds": seconds}), timeout=timeout)


@pytest.fixture(scope="module")
def backend(running_ray: None) -> Iterator[RayBackend]:
    """Two workers for all tests here, as replacing those that died is part of what is tested."""
    read_settings_again()  # as the fixture `cluster` does for each test
    backend = RayBackend()
    backend.start(faulty(), workers=2)
    yield backend
    backend.close()


@pytest.fixture
def watch(backend: RayBackend, monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(health, "SILENCE", PATIENCE)
    monkeypatch.setattr(health, "FROZEN", 1.0)
    watch = Watch(backend)
    watch.until(lambda: backend.capacity == 2)
    return watch


@pytest.mark.parametrize("what", ["kill", "exit", "segfault", "abort"])
def test_a_worker_that_dies_is_lost_with_its_trial_and_replaced(watch: Watch, what: str) -> None:
    dead, *others = jobs = [a_job(what), *(a_job() for _ in range(10))]
    lost, *ends = watch.run(*jobs)
    assert isinstance(lost, Lost)
    assert "died" in lost.reason
    assert completed(ends)
    assert len(others) == len(ends)
    watch.until(lambda: watch.backend.capacity == 2)
    assert not is_alive(watch.begun(dead).pid)


def test_a_frozen_worker_is_noticed_and_ended_without_any_time_limit(watch: Watch) -> None:
    frozen = a_job("freeze")
    began = time.monotonic()
    lost, *ends = watch.run(frozen, *(a_job() for _ in range(10)))
    assert isinstance(lost, Lost)
    assert "frozen" in lost.reason
    assert completed(ends)
    assert time.monotonic() - began < PATIENCE + 20
    watch.until(lambda: watch.backend.capacity == 2)
    assert not is_alive(watch.begun(frozen).pid)


def test_a_worker_that_is_frozen_only_for_a_while_is_left_alone(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FROZEN", 60.0)
    frozen = a_job("freeze")

    def thaw(event: Event) -> None:
        if isinstance(event, Sent) and event.run == frozen.run:
            pid = watch.begun(frozen).pid
            threading.Timer(PATIENCE + 3.0, os.kill, (pid, signal.SIGCONT)).start()

    watch.on_event = thaw
    assert completed(watch.run(frozen))


def test_an_objective_that_lets_no_thread_answer_is_not_taken_for_frozen(watch: Watch) -> None:
    began = time.monotonic()
    assert completed(watch.run(a_job("hold", PATIENCE + 5.0)))
    assert time.monotonic() - began > PATIENCE + 4.0


@pytest.mark.parametrize("how", ["hold", "freeze", "sleep"])
def test_objectives_that_hang_are_ended_within_five_seconds_of_their_limit(
    watch: Watch, how: str
) -> None:
    hung = [a_job(how, timeout=1.0) for _ in range(2)]
    began = time.monotonic()
    for end in watch.run(*hung):
        assert isinstance(end, Finished)
        assert end.outcome.error is not None
        assert end.outcome.error.kind == "Timeout"
    assert time.monotonic() - began < 1.0 + 5.0
    assert completed(watch.run(a_job()))
    assert not any(is_alive(watch.begun(job).pid) for job in hung if job.run in watch.sent)


def test_memory_that_the_system_refuses_kills_nobody(watch: Watch) -> None:
    refused, *ends = watch.run(a_job("memory"), *(a_job() for _ in range(5)))
    assert isinstance(refused, Lost)  # this `work` catches nothing: what tuner runs does
    assert "MemoryError" in refused.reason
    assert completed(ends)
