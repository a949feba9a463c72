"""Batches of jobs on Ray workers: the queue, the worker's side, the journal, and the pool."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tuner.backends import RayBackend
from tuner.backends.protocol import Channel, Finished, Lost, Sent
from tuner.backends.ray.batching import BATCH_SECONDS, MAX_BATCH, MAX_MOVES, JobQueue
from tuner.backends.ray.health import reason
from tuner.backends.ray.journal import Journal, JournalWriter
from tuner.backends.ray.worker import BatchDone, JobState, WorkerActor
from tuner.records import CheckpointPart, Job, Outcome, Report, State, Trial, Upload
from tuner.testing.scripted_jobs import EventRecorder, completed, make_job, scripted_work

# --- the queue ------------------------------------------------------------------------------------


def queue_of(jobs: list[Job]) -> JobQueue:
    queue = JobQueue()
    for job in jobs:
        queue.add(job)
    return queue


def test_jobs_run_one_at_a_time_until_a_duration_is_known() -> None:
    jobs = [make_job() for _ in range(3)]
    queue = queue_of(jobs)
    assert queue.next_batch(3) == jobs[:1]


def test_batches_grow_to_a_second_of_work_and_to_the_share_of_a_worker() -> None:
    jobs = [make_job() for _ in range(3 * MAX_BATCH)]
    queue = queue_of(jobs)
    for _ in range(50):
        queue.learn(BATCH_SECONDS / 10.5)
    assert len(queue.next_batch(100)) == 10
    assert len(queue.next_batch(4)) == 4
    for _ in range(50):
        queue.learn(0.0)
    assert len(queue.next_batch(1000)) == MAX_BATCH


def test_a_job_that_may_have_killed_its_worker_runs_alone() -> None:
    jobs = [make_job() for _ in range(4)]
    queue = queue_of([])
    for _ in range(50):
        queue.learn(0.001)
    assert queue.move(jobs[:2]) == []
    queue.add(jobs[2])
    queue.add(jobs[3])
    assert [queue.next_batch(9) for _ in range(3)] == [jobs[:1], jobs[1:2], jobs[2:]]


def test_a_job_is_abandoned_after_several_deaths_before_it_started() -> None:
    job = make_job()
    queue = JobQueue()
    for _ in range(MAX_MOVES):
        assert queue.move([job]) == []
        assert queue.next_batch(1) == [job]
    assert queue.move([job]) == [job]
    assert len(queue) == 0


# --- the worker's side, in a thread of this process -----------------------------------------------


class Running:
    """A worker that runs a batch in a thread; each job waits until it is released."""

    def __init__(self) -> None:
        self.worker = WorkerActor("w")
        self.worker._work = self.work
        self.begun: list[str] = []
        self.go = threading.Semaphore(0)
        self.done: list[BatchDone] = []

    def work(self, job: Job, channel: Channel) -> Outcome:
        self.begun.append(job.run)
        channel.send(Report(0, {"value": 0.0}))
        assert self.go.acquire(timeout=10)
        channel.send(Report(1, {"value": float(channel.stop_requested())}))
        return Outcome(State.COMPLETED)

    def start(self, *jobs: Job, number: int = 1) -> None:
        run = lambda: self.done.append(self.worker.run(number, jobs))  # noqa: E731
        self.thread = threading.Thread(target=run)
        self.thread.start()

    def until_begun(self, n: int) -> None:
        deadline = time.monotonic() + 10
        while len(self.begun) < n:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def finish(self, n: int) -> BatchDone:
        for _ in range(n):
            self.go.release()
        self.thread.join(10)
        return self.done[-1]


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running()
    yield running
    running.finish(100)


def test_events_are_taken_once_in_order(running: Running) -> None:
    job = make_job()
    running.start(job)
    first = running.worker.poll(5.0)
    assert first == [Sent(job.run, Report(0, {"value": 0.0}))]
    assert running.worker.poll(0.05) == []
    rest = running.finish(1).events
    assert rest == [
        Sent(job.run, Report(1, {"value": 0.0})),
        Finished(job.run, Outcome(State.COMPLETED)),
    ]


def test_a_poll_ends_with_the_batch(running: Running) -> None:
    running.start(make_job())
    running.worker.poll(5.0)
    began = time.monotonic()
    running.finish(1)
    running.worker.poll(30.0)
    assert time.monotonic() - began < 5


def test_jobs_that_have_not_started_can_be_reclaimed(running: Running) -> None:
    jobs = [make_job() for _ in range(4)]
    running.start(*jobs)
    running.until_begun(1)
    waiting = [job.run for job in jobs[1:]]
    assert running.worker.reclaim() == waiting
    assert running.worker.reclaim() == waiting  # idempotent
    assert running.finish(1).reclaimed == waiting
    assert running.begun == [jobs[0].run]


def test_the_driver_has_a_saved_checkpoint_before_the_job_continues(running: Running) -> None:
    jobs = [make_job() for _ in range(3)]
    parts = [CheckpointPart(1, "state", bytes([n])) for n in range(3)]

    def work(job: Job, channel: Channel) -> Outcome:
        for part in parts:
            channel.send(part)
            running.begun.append("saved")
        return Outcome(State.COMPLETED)

    running.worker._work = work
    running.start(*jobs)
    heard: list[object] = []
    for n in range(3):
        assert len(running.begun) == max(0, n - 1)
        heard += running.worker.poll(5.0)  # the next poll acknowledges it
    assert heard == [Sent(jobs[0].run, part) for part in parts]
    time.sleep(0.05)
    assert len(running.begun) == 2
    last = running.worker.poll(5.0)
    done = running.finish(0)
    assert [type(event) for event in (*last, *done.events)] == [Finished]
    assert len(running.begun) == 3
    # Jobs behind it are reclaimed: a job that saves checkpoints is long.
    assert done.reclaimed == [job.run for job in jobs[1:]]


def test_a_job_can_be_canceled_before_its_batch_arrives(running: Running) -> None:
    jobs = [make_job() for _ in range(2)]
    assert running.worker.cancel(jobs[0].run, batch=1).state is JobState.WAITING
    running.start(*jobs)
    running.finish(1)
    assert running.begun == [jobs[1].run]


def test_canceling_a_running_job_halts_its_worker(running: Running) -> None:
    jobs = [make_job() for _ in range(3)]
    running.start(*jobs)
    running.until_begun(1)
    canceled = running.worker.cancel(jobs[0].run, batch=1)
    assert canceled.state is JobState.RUNNING
    assert canceled.events == [Sent(jobs[0].run, Report(0, {"value": 0.0}))]
    assert running.finish(3).events == []
    assert running.begun == [jobs[0].run]


def test_canceling_another_job_affects_no_job(running: Running) -> None:
    jobs = [make_job() for _ in range(3)]
    running.start(*jobs)
    running.until_begun(1)
    assert running.worker.cancel(jobs[1].run, batch=1).state is JobState.WAITING
    assert running.worker.cancel("another", batch=1).state is JobState.OVER
    assert running.worker.cancel(jobs[0].run, batch=1, after=60.0).state is JobState.OVER
    running.finish(2)
    assert running.begun == [jobs[0].run, jobs[2].run]


def test_a_stop_request_reaches_its_job_only(running: Running) -> None:
    jobs = [make_job() for _ in range(2)]
    running.worker.request_stop(jobs[1].run)
    running.start(*jobs)
    said = {
        event.run: event.message.metrics["value"]
        for event in running.finish(2).events
        if isinstance(event, Sent) and event.message.step == 1
    }
    assert said == {jobs[0].run: 0.0, jobs[1].run: 1.0}


# --- the journal ----------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def ended(run: str) -> list:
    return [Sent(run, Report(0, {"value": 1.0})), Finished(run, Outcome(State.COMPLETED))]


def test_an_empty_journal_has_no_started_job(journal: Journal) -> None:
    assert journal.read(1) == (0, [])


def test_the_journal_has_the_last_started_job_and_the_events_of_earlier_ones(
    journal: Journal,
) -> None:
    writer = JournalWriter(journal.path)
    writer.write(1, 1, [])
    writer.write(1, 2, ended("a"))
    writer.write(1, 3, ended("b"))
    assert journal.read(1) == (3, ended("a") + ended("b"))


def test_a_new_batch_truncates_the_journal(journal: Journal) -> None:
    writer = JournalWriter(journal.path)
    writer.write(1, 1, [])
    writer.write(1, 2, ended("a"))
    assert journal.read(2) == (0, [])
    writer.write(2, 1, [])
    assert journal.read(2) == (1, [])
    assert Path(journal.path).stat().st_size < 100


def test_a_truncated_entry_is_ignored(journal: Journal) -> None:
    writer = JournalWriter(journal.path)
    writer.write(1, 1, [])
    size = Path(journal.path).stat().st_size
    writer.write(1, 2, [Sent("a", Upload("file", {"x": b"\x00\xff" * 500}))])
    whole = Path(journal.path).read_bytes()
    for cut in range(size, len(whole)):
        Path(journal.path).write_bytes(whole[:cut])
        assert journal.read(1) == (1, [])


def test_removing_a_journal_is_idempotent(journal: Journal) -> None:
    journal.remove()
    journal.remove()
    assert not Path(journal.path).exists()


def test_reasons_are_short() -> None:
    said = (
        "The actor died unexpectedly before finishing this task.\n\tclass_name: Worker\nThe actor "
        "is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit "
        "detail: Worker unexpectedly exits. End of file. Some common causes include: (1) ..."
    )
    assert reason(RuntimeError(said)) == (
        "its worker process died (SYSTEM_ERROR): Worker unexpectedly exits. End of file."
    )
    assert reason(RuntimeError("first\nsecond")) == "first"
    assert reason(RuntimeError()) == "RuntimeError"


# --- batches on a pool of workers -----------------------------------------------------------------


class DeadlyParam:
    """Ends the process that unpickles it, so that a job dies with its worker before it starts."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (3,)


@contextmanager
def pool(workers: int) -> Iterator[tuple[RayBackend, EventRecorder]]:
    """Yield a pool that expects short jobs, and therefore sends them in batches."""
    backend = RayBackend()
    backend.start(scripted_work(), workers=workers)
    try:
        recorder = EventRecorder(backend)
        recorder.until(lambda: backend.capacity == workers)
        recorder.run(*(make_job() for _ in range(200)))
        yield backend, recorder
    finally:
        backend.close()


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
class TestPool:
    """The pool shows no sign of batches: each job ends as if it had its own worker."""

    def test_a_job_that_kills_every_worker_before_it_starts_is_lost(self) -> None:
        with pool(1) as (_, recorder):
            deadly = Job("deadly", Trial(10**8, {"do": [], "x": DeadlyParam()}))
            *others, end = recorder.run(*(make_job() for _ in range(20)), deadly)
            assert isinstance(end, Lost)
            assert completed(others)
            assert completed(recorder.run(make_job()))

    def test_jobs_behind_repeated_deaths_are_not_lost(self) -> None:
        with pool(1) as (_, recorder):
            deadly = [make_job(("die", 1)) for _ in range(5)]
            ends = recorder.run(*deadly, *(make_job() for _ in range(10)))
            assert all(isinstance(end, Lost) for end in ends[:5])
            assert completed(ends[5:])

    def test_a_job_is_killed_before_its_batch_arrives(self) -> None:
        with pool(1) as (backend, recorder):
            for _ in range(20):
                job = make_job(("sleep", 20.0))
                backend.submit(job)
                backend.events(0.0)
                backend.stop(job.run, kill=True)
                (end,) = recorder.wait(job)
                assert isinstance(end, Lost)

    def test_a_job_is_killed_while_it_is_being_reclaimed(self) -> None:
        with pool(2) as (backend, recorder):
            jobs = [make_job(("sleep", 1.0)), *(make_job() for _ in range(8))]
            for job in jobs:
                backend.submit(job)
            recorder.poll(0.0)
            (worker,) = (worker for worker in backend._workers if jobs[0].run in worker.batch)
            time.sleep(0.2)
            worker.reclaim()  # as the dispatcher does if another worker is idle
            time.sleep(0.2)  # the answer has arrived, but it is unread
            victim = list(worker.batch)[-1]
            assert victim != jobs[0].run
            backend.stop(victim, kill=True)
            ends = {end.run: end for end in recorder.wait(*jobs)}
            assert isinstance(ends.pop(victim), Lost)
            assert completed(list(ends.values()))

    def test_jobs_queued_behind_longer_ones_move_to_an_idle_worker(self) -> None:
        with pool(2) as (_, recorder):
            longer = [make_job(("sleep", 0.05)) for _ in range(12)]
            assert completed(recorder.run(*(make_job() for _ in range(12)), *longer))
            on = [recorder.begun(job).worker for job in longer]
            assert min(on.count(worker) for worker in {"ray-0", "ray-1"}) >= 2

    def test_events_of_a_batch_are_not_repeated_when_its_worker_dies(self) -> None:
        with pool(1) as (_, recorder):
            for _ in range(3):
                recorder.run(*(make_job() for _ in range(200)))
                slow, deadly = make_job(("report", 3), ("sleep", 0.1)), make_job(("die", 1))
                finished, lost = recorder.run(slow, deadly)
                assert completed([finished])
                assert isinstance(lost, Lost)
                assert recorder.reports(slow) == [0, 1, 2]
                assert len(recorder.sent[slow.run]) == 5
