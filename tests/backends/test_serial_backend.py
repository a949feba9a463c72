"""The serial backend: the calling thread is the worker."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from support import pace
from tuner.backends import SerialBackend
from tuner.backends.protocol import Channel, Event, Finished, Sent
from tuner.errors import ResourcesError
from tuner.records import Begun, Job, Outcome, Report, State, Trial
from tuner.testing import BackendConformance
from tuner.testing.scripted_jobs import EventRecorder, completed, make_job, scripted_work


class TestSerialBackend(BackendConformance):
    def make(self) -> SerialBackend:
        return SerialBackend()


@pytest.fixture
def recorder() -> EventRecorder:
    recorder = EventRecorder(SerialBackend())
    recorder.backend.start(scripted_work(), deliver=recorder.record)
    return recorder


def test_each_message_is_delivered_while_the_job_runs(recorder: EventRecorder) -> None:
    job = make_job(("report", 1), ("sleep", 0.3))
    recorder.run(job)
    assert recorder.end_times[job.run] - recorder.first_sent[job.run] >= 0.3


def test_without_deliver_messages_come_with_the_end() -> None:
    backend = SerialBackend()
    backend.start(scripted_work())
    job = make_job(("report", 2))
    backend.submit(job)
    *messages, end = backend.events(0.0)
    assert [type(event) for event in messages] == [Sent] * 4
    assert isinstance(end, Finished)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"workers": 2}, 'workers=2.*backend="ray"'),
        ({"resources": {"gpu": 1}}, 'gpu.*backend="ray"'),
        ({"resources": {"cpu": "two"}}, "cpu"),
    ],
)
def test_several_workers_are_refused_with_a_remedy(options, says: str) -> None:
    with pytest.raises(ResourcesError, match=says):
        SerialBackend().start(scripted_work(), **options)


def test_one_worker_and_any_number_of_cpus_are_fine() -> None:
    SerialBackend().start(scripted_work(), workers=1, resources={"cpu": 4, "gpu": 0})


def test_ctrl_c_is_raised_and_the_backend_stays_usable(recorder: EventRecorder) -> None:
    recorder.backend.submit(make_job(("raise", None)))
    with pytest.raises(KeyboardInterrupt):
        recorder.backend.events(None)
    recorder.run(make_job())


def test_a_time_limit_leaves_the_alarm_as_it_was(recorder: EventRecorder) -> None:
    def handler(number: int, frame: object) -> None:
        raise AssertionError("not for this one")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        recorder.run(make_job(("sleep", 5.0), timeout=0.1), make_job(timeout=5.0))
        assert signal.getsignal(signal.SIGALRM) is handler
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "inner",
    [
        make_job(timeout=20.0),
        make_job(("sleep", 20.0), timeout=0.6),
        make_job(("sleep", 20.0)),
        make_job(("until_stopped", 20.0)),
    ],
    ids=["done in time", "overdue itself", "held up", "asking"],
)
def test_a_search_within_an_objective_leaves_its_time_limit(inner: Job) -> None:
    ends: list[Event] = []

    def search_within(job: Job, channel: Channel) -> Outcome:
        backend = SerialBackend()
        backend.start(scripted_work())
        backend.submit(inner)
        ends.extend(backend.events(None))
        time.sleep(20)
        return Outcome(State.COMPLETED)

    backend = SerialBackend()
    backend.start(search_within)
    backend.submit(make_job(timeout=0.3))
    began = time.monotonic()
    (end,) = backend.events(None)
    assert time.monotonic() - began < 5
    assert isinstance(end, Finished)
    assert end.outcome.error is not None
    assert "trial_timeout=0.3 s" in end.outcome.error.message
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    if inner.timeout == 20.0:
        assert completed([ends[-1]])


def test_an_earlier_alarm_still_fires(recorder: EventRecorder) -> None:
    rung: list[float] = []
    before = signal.signal(signal.SIGALRM, lambda _number, _frame: rung.append(time.monotonic()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        began = time.monotonic()
        recorder.run(make_job(timeout=5.0))
        while not rung:
            assert time.monotonic() - began < 5
            time.sleep(0.01)
        assert 0.45 < rung[0] - began < 2.0
    finally:
        signal.signal(signal.SIGALRM, before)


def test_the_driver_is_not_interrupted_while_it_records_a_message() -> None:
    recorded: list[str] = []

    def deliver(event) -> None:
        time.sleep(0.3)
        recorded.append(event.run)

    backend = SerialBackend()
    backend.start(scripted_work(), deliver=deliver)
    job = make_job(("report", 1), timeout=0.1)
    # With other threads, such as Ray's, one of them may receive the signal.
    others = [threading.Thread(target=time.sleep, args=(1.0,)) for _ in range(8)]
    for thread in others:
        thread.start()
    backend.submit(job)
    (end,) = backend.events(None)
    assert end.outcome.error.kind == "Timeout"
    assert recorded == [job.run]


def test_on_another_thread_a_time_limit_takes_effect_at_the_next_message() -> None:
    ends: list[object] = []

    def search() -> None:
        backend = SerialBackend()
        backend.start(scripted_work(), deliver=lambda event: None)
        backend.submit(make_job(("sleep", 0.3), ("report", 1), ("sleep", 30.0), timeout=0.1))
        ends.extend(backend.events(None))

    thread = threading.Thread(target=search)
    thread.start()
    thread.join(10)
    assert [end.outcome.error.kind for end in ends] == ["Timeout"]


def test_an_objective_that_catches_every_exception_is_interrupted() -> None:
    def work(job: Job, channel: Channel) -> Outcome:
        try:
            time.sleep(10)
        except Exception:
            return Outcome(State.COMPLETED)
        return Outcome(State.COMPLETED)

    backend = SerialBackend()
    backend.start(work)
    backend.submit(make_job(timeout=0.1))
    (end,) = backend.events(None)
    assert end.outcome.state is State.FAILED


def test_a_job_costs_microseconds() -> None:
    def work(job: Job, channel: Channel) -> Outcome:
        return Outcome(State.COMPLETED)

    backend = SerialBackend()
    backend.start(work, deliver=lambda event: None)
    jobs = [Job(str(n), Trial(n, {})) for n in range(2000)]

    def run_all() -> None:
        for job in jobs:
            backend.submit(job)
            backend.events(0.0)

    assert pace.seconds(run_all) / len(jobs) < 50e-6


def test_a_job_that_stops_on_request_is_not_a_failure(recorder: EventRecorder) -> None:
    job = make_job(("report", 1), ("until_stopped", 20))

    def stop(event) -> None:
        if isinstance(event, Sent) and isinstance(event.message, Report | Begun):
            recorder.backend.stop(job.run)

    recorder.on_event = stop
    (end,) = recorder.run(job)
    assert end.outcome.state is State.STOPPED
