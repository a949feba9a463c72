"""A pool of worker processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.unimportable import unimportable_work
from tuner.backends import ProcessBackend
from tuner.backends.processes import worker_handle
from tuner.backends.processes.messages import FrameReader, FrameWriter
from tuner.backends.protocol import Channel, Finished, Lost, Resized, Work
from tuner.backends.resources import as_needs, local_machine, visible_gpus, worker_variables
from tuner.errors import BackendError, ObjectiveError, ResourcesError
from tuner.records import Begun, Job, Outcome, Report, State, Trial
from tuner.testing import IsolatingBackendConformance
from tuner.testing.scripted_jobs import EventRecorder, completed, is_alive, make_job, scripted_work


@pytest.mark.process
class TestProcessBackend(IsolatingBackendConformance):
    def make(self) -> ProcessBackend:
        return ProcessBackend()


@contextmanager
def pool(work: Work | None = None, workers: int = 1, **options: Any) -> Iterator[EventRecorder]:
    backend = ProcessBackend()
    backend.start(work or scripted_work(), workers=workers, **options)
    try:
        yield EventRecorder(backend)
    finally:
        backend.close()


def value_of(*end: Finished | Lost) -> dict[str, float]:
    (last,) = end
    assert isinstance(last, Finished)
    assert last.outcome.error is None
    return dict(last.outcome.metrics)


# --- start ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"workers": 10_000}, r"workers=10000 with 1 CPU each.*write workers="),
        ({"resources": {"cpu": 10_000}}, r"needs 10000 CPU"),
        ({"resources": {"memory": 1e18}}, r"1e\+18 memory"),
        ({"resources": {"gpu": 1.5}}, r"write \{'gpu': 2\}"),
    ],
)
def test_an_error_names_requested_and_available_resources(options: Any, says: str) -> None:
    with pytest.raises(ResourcesError, match=says):
        ProcessBackend().start(scripted_work(), **options)


def test_work_that_cannot_be_pickled_is_refused_before_a_process_starts() -> None:
    lock = threading.Lock()

    def work(job: Job, channel: Channel) -> Outcome:
        with lock:
            return Outcome(State.COMPLETED)

    with pytest.raises(ObjectiveError, match=r"cannot be shipped.*lock.*in the objective itself"):
        ProcessBackend().start(work)


@pytest.mark.process
def test_work_that_a_worker_cannot_import_is_refused(tmp_path: Path) -> None:
    with (
        unimportable_work(tmp_path) as work,
        pytest.raises(ObjectiveError, match=r"ModuleNotFoundError.*not_on_workers.*installed"),
    ):
        ProcessBackend().start(work, workers=1)


class DeadlyToLoad:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (3,)


@pytest.mark.process
def test_workers_that_die_at_startup_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tuner.backends.pools.RESTART_DELAY", 0.0)
    deadly = DeadlyToLoad()

    def work(job: Job, channel: Channel) -> Outcome:
        return Outcome(State.COMPLETED, {"never": float(bool(deadly))})

    says = "workers died before they were ready, 3 times: .*exit code 3"
    with pytest.raises(BackendError, match=says):
        ProcessBackend().start(work, workers=1)


@pytest.mark.process
def test_a_system_that_refuses_processes_is_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(BackendError, match=r"cannot be started.*unavailable; start fewer"):
        ProcessBackend().start(scripted_work(), workers=1)


# --- the process of a trial -----------------------------------------------------------------------


@pytest.mark.process
def test_the_objective_runs_on_the_main_thread_in_the_folder_of_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OF_THE_DRIVER", "7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def work(job: Job, channel: Channel) -> Outcome:
        found = {
            "main": threading.current_thread() is threading.main_thread(),
            "here": os.getcwd() == str(tmp_path),
            "variable": os.environ["OF_THE_DRIVER"],
            "threads": os.environ["OMP_NUM_THREADS"],
            "no_gpu": "CUDA_VISIBLE_DEVICES" not in os.environ,
            "own_session": os.getsid(0) == os.getpid(),
        }
        return Outcome(State.COMPLETED, {name: float(value) for name, value in found.items()})

    with pool(work, resources={"cpu": 0.5}) as recorder:
        assert value_of(*recorder.run(make_job())) == {
            "main": 1.0,
            "here": 1.0,
            "variable": 7.0,
            "threads": 1.0,
            "no_gpu": 1.0,
            "own_session": 1.0,
        }


@pytest.mark.process
def test_workers_share_one_copy_of_a_large_array() -> None:
    array = np.ones(2**21)

    def work(job: Job, channel: Channel) -> Outcome:
        address = array.__array_interface__["data"][0]
        for line in Path("/proc/self/maps").read_text().splitlines():
            start, end = (int(place, 16) for place in line.split()[0].split("-"))
            if start <= address < end:
                return Outcome(State.COMPLETED, {"shared": float("memfd:tuner-work" in line)})
        return Outcome(State.COMPLETED)

    with pool(work) as recorder:
        assert value_of(*recorder.run(make_job())) == {"shared": 1.0}


@pytest.mark.process
def test_classes_of_the_script_can_be_params(monkeypatch: pytest.MonkeyPatch) -> None:
    of_script = type("OfScript", (), {"value": 5.0, "__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "OfScript", of_script, raising=False)

    def work(job: Job, channel: Channel) -> Outcome:
        return Outcome(State.COMPLETED, {"value": job.trial.params["it"].value})

    with pool(work) as recorder:
        job = Job("of script", Trial(10**7, {"it": of_script()}))
        assert value_of(*recorder.run(job)) == {"value": 5.0}


class Unloadable:
    """Cannot be unpickled in a worker."""

    def __reduce__(self) -> tuple[object, ...]:
        return int, ("no number",)


@pytest.mark.process
def test_params_that_cannot_be_loaded_fail_the_job_alone() -> None:
    with pool() as recorder:
        bad = Job("unloadable", Trial(10**7 + 1, {"do": [], "it": Unloadable()}))
        end, ok = recorder.run(bad, make_job())
        assert isinstance(end, Finished)
        assert end.outcome.error is not None
        assert end.outcome.error.kind == "Unpicklable"
        assert "no number" in end.outcome.error.message
        assert completed([ok])


# --- the end of a worker --------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("os._exit(5)", "exit code 5"),
        ("os.kill(os.getpid(), 9)", "SIGKILL, as when memory runs out"),
        ("os.abort()", "SIGABRT"),
    ],
)
def test_the_reason_names_the_cause_of_death(code: str, says: str) -> None:
    def work(job: Job, channel: Channel) -> Outcome:
        channel.send(Report(0, {"value": 1.0}))
        exec(code, {"os": os})
        return Outcome(State.COMPLETED)

    with pool(work) as recorder:
        (end,) = recorder.run(job := make_job())
        assert isinstance(end, Lost)
        assert end.reason.startswith("its worker process died: ")
        assert says in end.reason
        assert recorder.reports(job) == [0]  # sent just before


@pytest.mark.process
def test_capacity_counts_ready_workers_and_idle_deaths_lose_no_job() -> None:
    with pool() as recorder:
        seen: list[int] = []
        recorder.on_event = lambda e: seen.append(e.capacity) if isinstance(e, Resized) else None
        recorder.run(first := make_job())
        os.kill(recorder.begun(first).pid, 9)
        while is_alive(recorder.begun(first).pid):
            time.sleep(0.01)
        assert completed(recorder.run(second := make_job()))
        assert recorder.begun(second).pid != recorder.begun(first).pid
        assert seen[-2:] == [0, 1]


def processes_of(begun: Begun) -> list[int]:
    return [begun.pid, *map(int, begun.host.split())]


def all_end(pids: list[int]) -> bool:
    deadline = time.monotonic() + 10
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(is_alive, pids))


@pytest.mark.process
@pytest.mark.parametrize(
    "kill",
    [
        lambda recorder, job: os.kill(recorder.begun(job).pid, 9),
        lambda recorder, job: recorder.backend.stop(job.run, kill=True),
        None,
    ],
    ids=["from outside", "by the driver", "at close"],
)
def test_child_processes_of_a_killed_worker_are_killed(kill: Callable[..., None] | None) -> None:
    def work(job: Job, channel: Channel) -> Outcome:
        import os
        import subprocess
        import time

        child = subprocess.Popen(["sleep", "600"]).pid
        if (forked := os.fork()) == 0:
            time.sleep(600)
            os._exit(0)
        channel.send(Begun(channel.worker, f"{child} {forked}", os.getpid(), 0.0))
        time.sleep(600)
        return Outcome(State.COMPLETED)

    with pool(work) as recorder:
        recorder.backend.submit(job := make_job())
        recorder.until(lambda: job.run in recorder.sent)
        begun = recorder.begun(job)
        if kill is None:
            recorder.backend.close()
        else:
            kill(recorder, job)
            recorder.wait(job)
        assert all_end(processes_of(begun))


@pytest.mark.process
def test_a_worker_that_is_stopped_by_a_signal_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_handle, "STOPPED", 0.0)
    monkeypatch.setattr("tuner.backends.processes.pool.CHECK_INTERVAL", 0.05)
    with pool() as recorder:
        recorder.backend.submit(job := make_job(("report", 1), ("sleep", 30.0)))
        recorder.until(lambda: bool(recorder.reports(job)))
        os.kill(recorder.begun(job).pid, signal.SIGSTOP)
        (end,) = recorder.wait(job)
        assert isinstance(end, Lost)
        assert "SIGSTOP" in end.reason
        assert completed(recorder.run(make_job()))


@pytest.mark.process
def test_a_worker_due_for_replacement_returns_its_next_job() -> None:
    def work(job: Job, channel: Channel) -> Outcome:
        import os
        import threading
        import time

        channel.send(Begun(channel.worker, "", os.getpid(), 0.0))
        if job.trial.params["do"]:
            for _ in range(40):
                threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            return Outcome(State.COMPLETED)
        deadline = time.monotonic() + 20
        while not channel.stop_requested():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return Outcome(State.STOPPED)

    with pool(work) as recorder:
        first, second = make_job(("threads", 40)), make_job()
        for job in (first, second):
            recorder.backend.submit(job)
        recorder.backend.stop(second.run)
        one, other = recorder.wait(first, second)
        assert completed([one])
        assert isinstance(other, Finished)
        assert other.outcome.state is State.STOPPED
        assert recorder.begun(first).pid != recorder.begun(second).pid


# --- frames ---------------------------------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[FrameReader, FrameWriter]]:
    read, write = os.pipe()
    os.set_blocking(read, False)
    yield FrameReader(read), FrameWriter(write)
    for descriptor in (read, write):
        os.close(descriptor)


@pytest.mark.parametrize("size", [0, 10, 4096, 100_000, 3 * 2**20])
def test_frames_of_any_size_are_received_complete(
    pipe: tuple[FrameReader, FrameWriter], size: int
) -> None:
    reader, writer = pipe
    item = bytes(size)
    writing = threading.Thread(target=lambda: [writer.write(item) for _ in range(3)])
    writing.start()
    got: list[Any] = []
    while len(got) < 3:
        got += reader.read()
    writing.join()
    assert got == [item] * 3
    assert not reader.at_end


def test_a_frame_interrupted_by_an_exception_is_completed(
    pipe: tuple[FrameReader, FrameWriter],
) -> None:
    reader, writer = pipe

    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    large, small = bytes(2**20), "small"
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Alarm):
            writer.write(large)  # no process reads, so it blocks
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    writing = threading.Thread(target=writer.write, args=(small,))
    writing.start()
    got: list[Any] = []
    while len(got) < 2:
        got += reader.read()
    writing.join()
    assert got == [large, small]


# --- resources ------------------------------------------------------------------------------------


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(
    ("amount", "fit", "assigned"),
    [
        (1, 4, ["4", "5", "6", "7"]),
        (2, 2, ["4,5", "6,7"]),
        (0.5, 8, ["4", "4", "5", "5", "6", "6", "7", "7"]),
        (0.4, 8, ["4", "4", "5", "5", "6", "6", "7", "7"]),
    ],
)
def test_each_worker_has_its_gpus(amount: float, fit: int, assigned: list[str]) -> None:
    needs = as_needs({"cpu": 0, "gpu": amount})
    assert round(local_machine(needs)["GPU"] / amount) == fit
    slots = range(len(assigned))
    found = [worker_variables(needs, n)["CUDA_VISIBLE_DEVICES"] for n in slots]
    assert found == assigned


@pytest.mark.parametrize("named", ["", "-1"])
def test_hidden_gpus_are_not_used(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == []
    with pytest.raises(ResourcesError, match="0 GPU"):
        ProcessBackend().start(scripted_work(), resources={"gpu": 1})


def test_a_users_number_of_threads_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert worker_variables(as_needs(None), 0) == {}
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert worker_variables(as_needs({"cpu": 2.5}), 0) == {"OMP_NUM_THREADS": "2"}
