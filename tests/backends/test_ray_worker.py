"""What runs in a worker process, tried in a thread of this one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tuner.backends.protocol import Channel, Finished, Sent
from tuner.backends.ray.worker import Found, PacketDone, Worker
from tuner.records import CheckpointPart, Job, Outcome, Report, State
from tuner.testing.scripted_jobs import make_job


class Running:
    """A worker that runs a packet in a thread; each job waits until it is let go."""

    def __init__(self) -> None:
        self.worker = Worker("w")
        self.worker._work = self.work
        self.begun: list[str] = []
        self.go = threading.Semaphore(0)
        self.done: list[PacketDone] = []

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

    def finish(self, n: int) -> PacketDone:
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


def test_a_poll_ends_with_the_packet(running: Running) -> None:
    running.start(make_job())
    running.worker.poll(5.0)
    began = time.monotonic()
    running.finish(1)
    running.worker.poll(30.0)
    assert time.monotonic() - began < 5


def test_what_has_not_begun_can_be_withdrawn(running: Running) -> None:
    jobs = [make_job() for _ in range(4)]
    running.start(*jobs)
    running.until_begun(1)
    waiting = [job.run for job in jobs[1:]]
    assert running.worker.withdraw() == waiting
    assert running.worker.withdraw() == waiting  # as often as it is asked
    assert running.finish(1).unbegun == waiting
    assert running.begun == [jobs[0].run]


def test_what_was_saved_is_with_the_driver_before_the_job_goes_on(running: Running) -> None:
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
        heard += running.worker.poll(5.0)  # has it, which is known when it asks for the next
    assert heard == [Sent(jobs[0].run, part) for part in parts]
    time.sleep(0.05)
    assert len(running.begun) == 2
    last = running.worker.poll(5.0)
    done = running.finish(0)
    assert [type(event) for event in (*last, *done.events)] == [Finished]
    assert len(running.begun) == 3
    # What waited behind it is given back: one that saves what it does is a long one.
    assert done.unbegun == [job.run for job in jobs[1:]]


def test_a_job_is_refused_before_its_packet_arrives(running: Running) -> None:
    jobs = [make_job() for _ in range(2)]
    assert running.worker.arrest(jobs[0].run, packet=1).found is Found.WAITING
    running.start(*jobs)
    running.finish(1)
    assert running.begun == [jobs[1].run]


def test_an_arrest_freezes_the_worker_that_runs_the_job(running: Running) -> None:
    jobs = [make_job() for _ in range(3)]
    running.start(*jobs)
    running.until_begun(1)
    arrest = running.worker.arrest(jobs[0].run, packet=1)
    assert arrest.found is Found.RUNNING
    assert arrest.events == [Sent(jobs[0].run, Report(0, {"value": 0.0}))]
    assert running.finish(3).events == []
    assert running.begun == [jobs[0].run]


def test_an_arrest_of_another_job_harms_none(running: Running) -> None:
    jobs = [make_job() for _ in range(3)]
    running.start(*jobs)
    running.until_begun(1)
    assert running.worker.arrest(jobs[1].run, packet=1).found is Found.WAITING
    assert running.worker.arrest("another", packet=1).found is Found.OVER
    assert running.worker.arrest(jobs[0].run, packet=1, after=60.0).found is Found.OVER
    running.finish(2)
    assert running.begun == [jobs[0].run, jobs[2].run]


def test_a_request_to_stop_reaches_its_job_only(running: Running) -> None:
    jobs = [make_job() for _ in range(2)]
    running.worker.request_stop(jobs[1].run)
    running.start(*jobs)
    said = {
        event.run: event.message.metrics["value"]
        for event in running.finish(2).events
        if isinstance(event, Sent) and event.message.step == 1
    }
    assert said == {jobs[0].run: 0.0, jobs[1].run: 1.0}
