"""The conformance suites of backends."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tuner.backends.protocol import Backend, Event, Finished, Lost, Resized, Sent
from tuner.errors import BackendError, ResourcesError
from tuner.records import Begun, Failure, Job, Outcome, Output, Report, State, Trial, Upload
from tuner.testing.scripted_jobs import EventRecorder, completed, is_alive, make_job, scripted_work


class BackendConformance:
    """Tests of the contract of `tuner.backends.protocol.Backend`.

    Subclass it as ``TestMyBackend`` and define `make`. Each submitted job must yield exactly one
    `Finished` or `Lost`, after all of its messages; stops, kills and time limits must reach their
    job and no other; `close` must leave no process and no thread. Most tests of a subclass share
    one started backend. Jobs are picklable functions by cloudpickle, and write to temporary files.

    Attributes
    ----------
    workers
        Number of workers of the shared backend. One more worker must be available beside them.

    Examples
    --------
    >>> from tuner.backends import SerialBackend
    >>> class TestSerialBackend(BackendConformance):
    ...     def make(self):
    ...         return SerialBackend()
    """

    workers: ClassVar[int] = 1

    def make(self) -> Backend:
        """Return a new backend that was not started."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls) -> Iterator[tuple[Backend, list[EventRecorder]]]:
        """Yield the started backend of the class, and the recorders of its tests so far."""
        current: list[EventRecorder] = []
        backend = cls().make()
        backend.start(
            scripted_work(), workers=cls.workers, deliver=lambda event: current[-1].record(event)
        )
        yield backend, current
        backend.close()

    @pytest.fixture
    def recorder(self, shared: tuple[Backend, list[EventRecorder]]) -> EventRecorder:
        """Return a new recorder of the shared backend's events."""
        backend, current = shared
        current.append(EventRecorder(backend))
        return current[-1]

    # --- jobs and their ends ------------------------------------------------------------------

    def test_it_is_a_backend(self) -> None:
        assert isinstance(self.make(), Backend)

    def test_a_job_ends_with_its_outcome(self, recorder: EventRecorder) -> None:
        job = make_job()
        assert recorder.run(job) == [
            Finished(job.run, Outcome(State.COMPLETED, {"value": float(job.trial.number)}))
        ]

    def test_a_failure_arrives_as_it_is(self, recorder: EventRecorder) -> None:
        job = make_job(("fail", "no \ud800 good"))
        (end,) = recorder.run(job)
        failure = Failure("ValueError", "no \ud800 good", "", "f:1")
        assert end == Finished(job.run, Outcome(State.FAILED, {"value": 1.0}, failure))

    def test_messages_come_in_order_and_before_the_end(self, recorder: EventRecorder) -> None:
        job = make_job(("report", 200), ("sleep", 0.1), ("upload", 512))
        recorder.run(job)
        kinds = [type(message) for message in recorder.sent[job.run]]
        assert kinds == [Begun] + [Report] * 200 + [Upload, Output]
        assert recorder.reports(job) == list(range(200))

    def test_random_jobs_each_end_once(self, recorder: EventRecorder) -> None:
        rng = random.Random(0)
        steps: list[Callable[[], tuple[str, Any]]] = [
            lambda: ("report", rng.randrange(20)),
            lambda: ("sleep", rng.random() * 0.005),
            lambda: ("upload", 256 * rng.randrange(40)),
            lambda: ("fail", "by chance") if rng.random() < 0.3 else ("report", 0),
        ]
        jobs = [
            make_job(*(rng.choice(steps)() for _ in range(rng.randrange(4)))) for _ in range(300)
        ]
        ends = recorder.run(*jobs)
        for job, end in zip(jobs, ends, strict=True):
            assert isinstance(end, Finished)
            fails = any(verb == "fail" for verb, _ in job.trial.params["do"])
            assert end.outcome.state is (State.FAILED if fails else State.COMPLETED)
            if not fails:
                wanted = [
                    n
                    for verb, arg in job.trial.params["do"]
                    if verb == "report"
                    for n in range(arg)
                ]
                assert recorder.reports(job) == wanted
                assert recorder.sent[job.run][-1].text == f"run {job.run}\n"

    def test_each_of_hundreds_of_jobs_is_run_once(
        self, recorder: EventRecorder, tmp_path: Path
    ) -> None:
        jobs = [make_job(("note", str(tmp_path / "notes"))) for _ in range(700)]
        assert completed(recorder.run(*jobs))
        runs = Counter((tmp_path / "notes").read_text().split())
        assert runs == {job.run: 1 for job in jobs}

    def test_large_messages_arrive_whole(self, recorder: EventRecorder) -> None:
        size = 5 * 2**20
        jobs = [make_job(("upload", size)) for _ in range(4)]
        assert completed(recorder.run(*jobs))
        for job in jobs:
            uploads = [m for m in recorder.sent[job.run] if isinstance(m, Upload)]
            assert [m.files["file"] for m in uploads] == [bytes(range(256)) * (size // 256)]

    def test_jobs_may_be_submitted_while_events_are_handled(self, recorder: EventRecorder) -> None:
        jobs = [make_job(("report", 1)) for _ in range(60)]
        waiting = iter(jobs[2:])

        def submit_another(event: Event) -> None:
            begins = isinstance(event, Sent) and isinstance(event.message, Begun)
            if begins and (job := next(waiting, None)) is not None:
                recorder.backend.submit(job)

        recorder.on_event = submit_another
        for job in jobs[:2]:
            recorder.backend.submit(job)
        assert completed(recorder.wait(*jobs))

    def test_workers_have_names(self, recorder: EventRecorder) -> None:
        jobs = [make_job(("sleep", 0.05)) for _ in range(6)]
        recorder.run(*jobs)
        names = {recorder.begun(job).worker for job in jobs}
        assert all(names)
        assert 1 <= len(names) <= recorder.backend.capacity <= recorder.backend.size

    def test_events_waits_no_longer_than_asked(self, recorder: EventRecorder) -> None:
        recorder.poll(0.2)
        for timeout in (0.0, 0.3):
            began = time.monotonic()
            assert not [e for e in recorder.backend.events(timeout) if not isinstance(e, Resized)]
            assert time.monotonic() - began < timeout + 2.0

    # --- stopping -----------------------------------------------------------------------------

    def test_a_running_job_sees_that_it_is_to_stop(self, recorder: EventRecorder) -> None:
        job, other = make_job(("until_stopped", 20)), make_job(("until_stopped", 0.3))

        def stop(event: Event) -> None:
            if isinstance(event, Sent) and event.run == job.run:
                recorder.backend.stop(job.run)

        recorder.on_event = stop
        first, second = recorder.run(job, other)
        assert isinstance(first, Finished)
        assert first.outcome.state is State.STOPPED
        assert recorder.end_times[job.run] - recorder.first_sent[job.run] < 1.0
        assert completed([second])

    def test_a_job_stopped_before_it_began_sees_it_when_it_does(
        self, recorder: EventRecorder
    ) -> None:
        jobs = [make_job(("until_stopped", 20)) for _ in range(5)]
        for job in jobs:
            recorder.backend.submit(job)
            recorder.backend.stop(job.run)
        for end in recorder.wait(*jobs):
            assert isinstance(end, Finished)
            assert end.outcome.state is State.STOPPED

    def test_a_killed_job_is_lost_and_no_other(self, recorder: EventRecorder) -> None:
        job = make_job(("report", 3), ("sleep", 0.2), ("report", 1), ("until_stopped", 20))
        others = [make_job() for _ in range(20)]

        def kill(event: Event) -> None:
            if isinstance(event, Sent) and event.run == job.run:
                recorder.backend.stop(job.run, kill=True)

        recorder.on_event = kill
        lost, *ends = recorder.run(job, *others)
        assert isinstance(lost, Lost)
        assert lost.reason
        assert completed(ends)
        recorder.backend.stop(job.run, kill=True)
        assert completed(recorder.run(make_job()))

    def test_a_job_killed_before_it_began_is_lost_and_never_runs(
        self, recorder: EventRecorder, tmp_path: Path
    ) -> None:
        jobs = [make_job(("note", str(tmp_path / "notes"))) for _ in range(10)]
        for job in jobs:
            recorder.backend.submit(job)
        for job in jobs[::2]:
            recorder.backend.stop(job.run, kill=True)
        ends = recorder.wait(*jobs)
        assert all(isinstance(end, Lost) for end in ends[::2])
        assert completed(ends[1::2])
        assert set((tmp_path / "notes").read_text().split()) == {job.run for job in jobs[1::2]}

    def test_a_stop_that_comes_too_late_does_nothing(self, recorder: EventRecorder) -> None:
        job = make_job()
        recorder.run(job)
        for run in (job.run, "never heard of"):
            recorder.backend.stop(run)
            recorder.backend.stop(run, kill=True)
        recorder.poll(0.2)
        assert completed(recorder.run(make_job()))

    @pytest.mark.parametrize("how", ["sleep", "spin"])
    def test_a_job_that_takes_too_long_fails(self, recorder: EventRecorder, how: str) -> None:
        slow = make_job(("report", 2), (how, 30.0), timeout=0.4)
        others = [make_job(timeout=20.0) for _ in range(10)]
        end, *ends = recorder.run(slow, *others)
        assert isinstance(end, Finished)
        assert end.outcome.state is State.FAILED
        assert end.outcome.error is not None
        assert end.outcome.error.kind == "Timeout"
        assert "0.4 s" in end.outcome.error.message
        took = recorder.end_times[slow.run] - recorder.first_sent[slow.run]
        assert took < 3.0
        assert recorder.reports(slow) == [0, 1]
        assert completed(ends)

    # --- start and close ----------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"workers": 100_000}, "workers=100000"),
            ({"resources": {"unobtainium": 1}}, "unobtainium"),
            ({"resources": {"gpu": -1}}, "gpu"),
            ({"workers": 0}, "workers=0"),
        ],
    )
    def test_what_can_never_be_had_is_refused_at_once(
        self, options: dict[str, Any], says: str
    ) -> None:
        backend = self.make()
        began = time.monotonic()
        try:
            with pytest.raises(ResourcesError, match=says):
                backend.start(scripted_work(), **options)
        finally:
            backend.close()
        assert time.monotonic() - began < 5

    def test_submit_before_start_and_after_close_is_an_error(self) -> None:
        backend = self.make()
        with pytest.raises(BackendError, match="start"):
            backend.submit(make_job())
        backend.close()
        backend.close()
        with pytest.raises(BackendError, match="start"):
            backend.submit(make_job())

    def test_close_ends_everything_and_a_new_start_begins_afresh(self) -> None:
        threads = set(threading.enumerate())
        backend = self.make()
        pids = set()
        for _ in range(2):
            recorder = EventRecorder(backend)
            backend.start(scripted_work(), workers=1, deliver=recorder.record)
            assert backend.capacity == 1
            jobs = [make_job(("sleep", 0.01)) for _ in range(3)]
            assert completed(recorder.run(*jobs))
            pids |= {recorder.begun(job).pid for job in jobs}
            for _ in range(3):  # unfinished at close
                backend.submit(make_job(("sleep", 5.0)))
            backend.close()
            backend.close()
        deadline = time.monotonic() + 20
        while any(is_alive(pid) for pid in pids - {os.getpid()}):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        left = {t for t in set(threading.enumerate()) - threads if not t.name.startswith("ray_")}
        assert not left


class IsolatingBackendConformance(BackendConformance):
    """`BackendConformance`, and tests for a backend with two or more worker processes.

    The death of a worker must end its own job as `Lost` and no other; jobs must run concurrently;
    a job that holds the interpreter lock must end at its time limit.
    """

    workers: ClassVar[int] = 2

    def test_several_jobs_run_at_once(self, recorder: EventRecorder, tmp_path: Path) -> None:
        recorder.until(lambda: recorder.backend.capacity >= 2)
        here, there = str(tmp_path / "here"), str(tmp_path / "there")
        assert completed(
            recorder.run(make_job(("meet", (here, there))), make_job(("meet", (there, here))))
        )

    def test_reports_arrive_while_the_job_runs(self, recorder: EventRecorder) -> None:
        job = make_job(("report", 1), ("sleep", 1.0), ("report", 1))
        recorder.run(job)
        delay = recorder.first_sent[job.run] - recorder.end_times[job.run]
        assert delay < -0.8

    def test_a_long_job_holds_no_other_up(self, recorder: EventRecorder) -> None:
        recorder.until(lambda: recorder.backend.capacity >= 2)
        recorder.run(*(make_job() for _ in range(200)))  # a backend may now expect short jobs
        long, short = make_job(("sleep", 3.0)), [make_job() for _ in range(200)]
        recorder.run(*short[:50], long, *short[50:])
        last = max(recorder.end_times[job.run] for job in short)
        assert last < recorder.end_times[long.run] - 1.0

    def test_a_dying_worker_takes_only_its_own_job(
        self, recorder: EventRecorder, tmp_path: Path
    ) -> None:
        note = ("note", str(tmp_path / "notes"))
        recorder.run(*(make_job() for _ in range(200)))
        jobs = [make_job(note) for _ in range(200)]
        for place in (0, 20, 90, 150):
            jobs[place] = make_job(note, ("report", 2), ("die", 1))
        ends = recorder.run(*jobs)
        for job, end in zip(jobs, ends, strict=True):
            if job.trial.params["do"][-1][0] == "die":
                assert isinstance(end, Lost)
                assert "died" in end.reason
            else:
                assert completed([end])
        runs = Counter((tmp_path / "notes").read_text().split())
        assert runs == {job.run: 1 for job in jobs}
        assert completed(recorder.run(*(make_job() for _ in range(20))))

    def test_a_worker_killed_from_outside(self, recorder: EventRecorder) -> None:
        recorder.until(lambda: recorder.backend.capacity >= 2)
        victim, other = make_job(("sleep", 30.0)), make_job(("sleep", 1.0))

        def kill(event: Event) -> None:
            if isinstance(event, Sent) and event.run == victim.run:
                os.kill(recorder.begun(victim).pid, 9)

        recorder.on_event = kill
        lost, finished = recorder.run(victim, other)
        assert isinstance(lost, Lost)
        assert completed([finished])
        assert recorder.begun(victim).pid != recorder.begun(other).pid

    def test_a_kill_in_a_packet_leaves_the_rest(
        self, recorder: EventRecorder, tmp_path: Path
    ) -> None:
        recorder.run(*(make_job() for _ in range(200)))
        notes = tmp_path / "notes"
        note = ("note", str(notes))
        jobs = [make_job(note) for _ in range(60)]
        jobs[5] = make_job(note, ("sleep", 30.0))

        def kill(event: Event) -> None:
            if isinstance(event, Sent) and event.run == jobs[5].run:
                deadline = time.monotonic() + 10.0
                while not notes.exists() or jobs[5].run not in notes.read_text().split():
                    assert time.monotonic() < deadline  # it has begun, so it writes its note
                    time.sleep(0.01)
                recorder.backend.stop(jobs[5].run, kill=True)

        recorder.on_event = kill
        ends = recorder.run(*jobs)
        assert isinstance(ends.pop(5), Lost)
        assert completed(ends)
        assert Counter(notes.read_text().split()) == {job.run: 1 for job in jobs}

    @pytest.mark.parametrize("then", [("sleep", 1.0), ("die", 1)])
    def test_a_stop_follows_a_job_to_another_worker(
        self, recorder: EventRecorder, then: tuple[str, Any]
    ) -> None:
        recorder.until(lambda: recorder.backend.capacity >= 2)
        recorder.run(*(make_job() for _ in range(200)))
        # One worker holds the other jobs up, then returns them or dies.
        first, *others = jobs = [
            make_job(("sleep", 1.0), then),
            *(make_job(("until_stopped", 20)) for _ in range(8)),
        ]
        asked = False

        def stop(event: Event) -> None:
            nonlocal asked
            if not asked and isinstance(event, Sent) and event.run == first.run:
                asked = True
                for job in others:
                    recorder.backend.stop(job.run)

        recorder.on_event = stop
        _, *ends = recorder.run(*jobs)
        for end in ends:
            assert isinstance(end, Finished)
            assert end.outcome.state is State.STOPPED
        assert max(recorder.end_times.values()) - recorder.first_sent[first.run] < 10

    def test_a_job_that_lets_no_thread_answer_is_ended_in_time(
        self, recorder: EventRecorder, tmp_path: Path
    ) -> None:
        recorder.run(*(make_job() for _ in range(200)))
        note = ("note", str(tmp_path / "notes"))
        jobs = [make_job(note, timeout=1.0) for _ in range(60)]
        jobs[10] = make_job(note, ("hog", 10**11), timeout=1.0)
        ends = recorder.run(*jobs)
        end = ends.pop(10)
        assert isinstance(end, Finished)
        assert end.outcome.error is not None
        assert end.outcome.error.kind == "Timeout"
        assert completed(ends)
        assert Counter((tmp_path / "notes").read_text().split()) == {job.run: 1 for job in jobs}

    def test_a_job_that_raises_an_interrupt_fails_alone(self, recorder: EventRecorder) -> None:
        end, finished = recorder.run(make_job(("raise", None)), make_job(("sleep", 0.1)))
        assert isinstance(end, Finished)
        assert end.outcome.error is not None
        assert end.outcome.error.kind == "KeyboardInterrupt"
        assert completed([finished, *recorder.run(make_job())])

    def test_params_that_cannot_be_sent_fail_the_job(self, recorder: EventRecorder) -> None:
        ok = [make_job() for _ in range(5)]
        bad = Job("bad", Trial(10**9, {"do": [], "lock": threading.Lock()}))
        end, *ends = recorder.run(bad, *ok)
        assert isinstance(end, Finished)
        assert end.outcome.error is not None
        assert end.outcome.error.kind == "Unpicklable"
        assert "lock" in end.outcome.error.message
        assert completed(ends)
