"""A pool of Ray actors on an existing Ray cluster."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

import tuner
from support.unimportable import unimportable_work
from tuner.backends import RayBackend
from tuner.backends.protocol import Finished, Resized
from tuner.errors import BackendError, ObjectiveError, ResourcesError
from tuner.records import Job, Outcome, State
from tuner.testing import IsolatingBackendConformance
from tuner.testing.scripted_jobs import EventRecorder, completed, is_alive, make_job, scripted_work

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]


@pytest.mark.usefixtures("cluster")
class TestRayBackend(IsolatingBackendConformance):
    def make(self) -> RayBackend:
        return RayBackend()


def test_a_running_ray_is_used_and_not_shut_down() -> None:
    import ray

    backend = RayBackend()
    backend.start(scripted_work(), workers=1)
    backend.close()
    assert ray.is_initialized()


def test_work_that_cannot_be_pickled_is_refused() -> None:
    lock = __import__("threading").Lock()

    def work(job: Job, channel: object) -> Outcome:
        with lock:
            return Outcome(State.COMPLETED)

    with pytest.raises(ObjectiveError, match=r"cannot be shipped.*lock.*in the objective itself"):
        RayBackend().start(work)


def test_work_that_a_worker_cannot_import_is_refused(tmp_path: Path) -> None:
    with (
        unimportable_work(tmp_path) as work,
        pytest.raises(ObjectiveError, match=r"ModuleNotFoundError.*not_on_workers.*installed"),
    ):
        RayBackend().start(work, workers=1)


class SearchesWhenLoaded:
    """Starts a search where it is unpickled, as a module without a guard does."""

    def __reduce__(self) -> tuple[object, ...]:
        return tuner.optimize, (print, {})


def test_work_that_starts_a_search_on_import_is_refused() -> None:
    searches = SearchesWhenLoaded()

    def work(job: Job, channel: object) -> Outcome:
        return Outcome(State.COMPLETED, {"never": float(bool(searches))})

    with pytest.raises(ObjectiveError, match=r"tuner\.optimize is called while .*__main__"):
        RayBackend().start(work, workers=1)


class DeadlyToLoad:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (3,)


def test_workers_that_die_at_startup_are_an_error() -> None:
    deadly = DeadlyToLoad()

    def work(job: Job, channel: object) -> Outcome:
        return Outcome(State.COMPLETED, {"never": float(bool(deadly))})

    with pytest.raises(BackendError, match="workers died before they were ready, 3 times"):
        RayBackend().start(work, workers=1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"workers": 4}, r"workers=4 with 1 CPU each.*there is 3 CPU; write workers=3 or less"),
        ({"resources": {"cpu": 64}}, r"needs 64 CPU.*there is 3 CPU"),
        ({"resources": {"gpu": 1.5}}, r"write \{'gpu': 2\}"),
        ({"resources": {"gpu": 1}}, r"1 GPU.*3 CPU and 0 GPU"),
    ],
)
def test_an_error_names_requested_and_available_resources(options, says: str) -> None:
    with pytest.raises(ResourcesError, match=says):
        RayBackend().start(scripted_work(), **options)


def test_fractions_make_more_workers_and_each_has_its_share_of_threads() -> None:
    def work(job: Job, channel: object) -> Outcome:
        return Outcome(State.COMPLETED, {"threads": float(os.environ["OMP_NUM_THREADS"])})

    backend = RayBackend()
    backend.start(work, workers=4, resources={"cpu": 0.5})
    try:
        recorder = EventRecorder(backend)
        (end,) = recorder.run(make_job())
        assert end == Finished(end.run, Outcome(State.COMPLETED, {"threads": 1.0}))
        recorder.until(lambda: backend.capacity == 4)
    finally:
        backend.close()


def test_large_arrays_are_in_the_object_store_and_read_only() -> None:
    array = np.arange(2.0**21)[::2]

    def work(job: Job, channel: object) -> Outcome:
        address = array.__array_interface__["data"][0]
        for line in Path("/proc/self/maps").read_text().splitlines():
            start, end = (int(place, 16) for place in line.split()[0].split("-"))
            if start <= address < end:
                shared = float("plasma" in line and not array.flags.writeable)
                return Outcome(State.COMPLETED, {"shared": shared, "sum": float(array.sum())})
        return Outcome(State.COMPLETED)

    backend = RayBackend()
    backend.start(work, workers=1)
    try:
        (end,) = EventRecorder(backend).run(make_job())
    finally:
        backend.close()
    assert end == Finished(end.run, Outcome(State.COMPLETED, {"shared": 1.0, "sum": array.sum()}))


def test_capacity_counts_the_workers_that_are_ready() -> None:
    backend = RayBackend()
    backend.start(scripted_work(), workers=1)
    try:
        seen: list[int] = []
        recorder = EventRecorder(backend)
        recorder.on_event = lambda e: seen.append(e.capacity) if isinstance(e, Resized) else None
        recorder.run(make_job(("die", 1)))
        recorder.until(lambda: backend.capacity == 1)
        assert seen == [0, 1]
    finally:
        backend.close()


def test_an_idle_worker_that_dies_loses_no_job() -> None:
    backend = RayBackend()
    backend.start(scripted_work(), workers=1)
    try:
        recorder = EventRecorder(backend)
        first, second = make_job(), make_job()
        recorder.run(first)
        os.kill(recorder.begun(first).pid, 9)
        while is_alive(recorder.begun(first).pid):
            time.sleep(0.01)
        assert completed(recorder.run(second))
    finally:
        backend.close()


@pytest.mark.slow
def test_throughput() -> None:
    def work(job: Job, channel: object) -> Outcome:
        return Outcome(State.COMPLETED, {"value": 0.0})

    backend = RayBackend()
    backend.start(work, workers=2)
    try:
        recorder = EventRecorder(backend)
        rates = []
        for _ in range(3):
            jobs = [make_job() for _ in range(1500)]
            began = time.perf_counter()
            recorder.run(*jobs)
            rates.append(len(jobs) / (time.perf_counter() - began))
        assert max(rates) > 500  # about 3,000 on two idle cores; an actor a trial makes ten
    finally:
        backend.close()
