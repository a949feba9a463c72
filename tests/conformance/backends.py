"""Conformance tests for `Backend`; subclass `BackendConformance` and define `make`."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.backend_watch import Watch, a_job, completed, is_alive, scripted
from tuner.backends.protocol import Backend, Event, Finished, Lost, Resized, Sent
from tuner.errors import BackendError, ResourcesError
from tuner.records import Begun, Failure, Job, Outcome, Output, Report, State, Trial, Upload


class BackendConformance:
    """Subclass as ``TestMine``. Tests of a class share one started backend where they can.

    `workers` is how many that one has; leave room for another backend with one worker beside it.
    """

    workers = 1

    def make(self) -> Backend:
        """Return a backend that has not been started."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls) -> Iterator[tuple[Backend, list[Watch]]]:
        current: list[Watch] = []
        backend = cls().make()
        backend.start(
            scripted(), workers=cls.workers, deliver=lambda event: current[-1].take(event)
        )
        yield backend, current
        backend.close()

    @pytest.fixture
    def watch(self, shared: tuple[Backend, list[Watch]]) -> Watch:
        backend, current = shared
        current.append(Watch(backend))
        return current[-1]

    # --- jobs and their ends ------------------------------------------------------------------

    def test_it_is_a_backend(self) -> None:
        assert isinstance(self.make(), Backend)

    def test_a_job_ends_with_its_outcome(self, watch: Watch) -> None:
        job = a_job()
        assert watch.run(job) == [
            Finished(job.run, Outcome(State.COMPLETED, {"value": float(job.trial.number)}))
        ]

    def test_a_failure_arrives_as_it_is(self, watch: Watch) -> None:
        job = a_job(("fail", "no \ud800 good"))
        (end,) = watch.run(job)
        failure = Failure("ValueError", "no \ud800 good", "", "f:1")
        assert end == Finished(job.run, Outcome(State.FAILED, {"value": 1.0}, failure))

    def test_messages_come_in_order_and_before_the_end(self, watch: Watch) -> None:
        job = a_job(("report", 200), ("sleep", 0.1), ("upload", 512))
        watch.run(job)
        kinds = [type(message) for message in watch.sent[job.run]]
        assert kinds == [Begun] + [Report] * 200 + [Upload, Output]
        assert watch.reports(job) == list(range(200))

    def test_random_jobs_each_end_once(self, watch: Watch) -> None:
        rng = random.Random(0)
        steps: list[Callable[[], tuple[str, Any]]] = [
            lambda: ("report", rng.randrange(20)),
            lambda: ("sleep", rng.random() * 0.005),
            lambda: ("upload", 256 * rng.randrange(40)),
            lambda: ("fail", "bad luck") if rng.random() < 0.3 else ("report", 0),
        ]
        jobs = [a_job(*(rng.choice(steps)() for _ in range(rng.randrange(4)))) for _ in range(300)]
        ends = watch.run(*jobs)
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
                assert watch.reports(job) == wanted
                assert watch.sent[job.run][-1].text == f"run {job.run}\n"

    def test_each_of_hundreds_of_jobs_is_run_once(self, watch: Watch, tmp_path: Path) -> None:
        jobs = [a_job(("note", str(tmp_path / "notes"))) for _ in range(700)]
        assert completed(watch.run(*jobs))
        runs = Counter((tmp_path / "notes").read_text().split())
        assert runs == {job.run: 1 for job in jobs}

    def test_large_messages_arrive_whole(self, watch: Watch) -> None:
        size = 5 * 2**20
        jobs = [a_job(("upload", size)) for _ in range(4)]
        assert completed(watch.run(*jobs))
        for job in jobs:
            uploads = [m for m in watch.sent[job.run] if isinstance(m, Upload)]
            assert [m.files["file"] for m in uploads] == [bytes(range(256)) * (size // 256)]

    def test_jobs_may_be_submitted_while_events_are_handled(self, watch: Watch) -> None:
        jobs = [a_job(("report", 1)) for _ in range(60)]
        waiting = iter(jobs[2:])

        def submit_another(event: Event) -> None:
            first_word = isinstance(event, Sent) and isinstance(event.message, Begun)
            if first_word and (job := next(waiting, None)) is not None:
                watch.backend.submit(job)

        watch.on_event = submit_another
        for job in jobs[:2]:
            watch.backend.submit(job)
        assert completed(watch.wait(*jobs))

    def test_workers_have_names(self, watch: Watch) -> None:
        jobs = [a_job(("sleep", 0.05)) for _ in range(6)]
        watch.run(*jobs)
        names = {watch.begun(job).worker for job in jobs}
        assert all(names)
        assert 1 <= len(names) <= watch.backend.capacity

    def test_events_waits_no_longer_than_asked(self, watch: Watch) -> None:
        watch.look(0.2)
        for timeout in (0.0, 0.3):
            began = time.monotonic()
            assert not [e for e in watch.backend.events(timeout) if not isinstance(e, Resized)]
            assert time.monotonic() - began < timeout + 2.0

    # --- stopping -----------------------------------------------------------------------------

    def test_a_running_job_sees_that_it_is_to_stop(self, watch: Watch) -> None:
        job, other = a_job(("until_stopped", 20)), a_job(("until_stopped", 0.3))

        def stop(event: Event) -> None:
            if isinstance(event, Sent) and event.run == job.run:
                watch.backend.stop(job.run)

        watch.on_event = stop
        first, second = watch.run(job, other)
        assert isinstance(first, Finished)
        assert first.outcome.state is State.STOPPED
        assert watch.end_times[job.run] - watch.first_sent[job.run] < 1.0
        assert completed([second])

    def test_a_job_stopped_before_it_began_sees_it_when_it_does(self, watch: Watch) -> None:
        jobs = [a_job(("until_stopped", 20)) for _ in range(5)]
        for job in jobs:
            watch.backend.submit(job)
            watch.backend.stop(job.run)
        for end in watch.wait(*jobs):
            assert isinstance(end, Finished)
            assert end.outcome.state is State.STOPPED

    def test_a_killed_job_is_lost_and_no_other(self, watch: Watch) -> None:
        job = a_job(("report", 3), ("sleep", 0.2), ("report", 1), ("until_stopped", 20))
        others = [a_job() for _ in range(20)]

        def kill(event: Event) -> None:
            if isinstance(event, Sent) and event.run == job.run:
                watch.backend.stop(job.run, kill=True)

        watch.on_event = kill
        lost, *ends = watch.run(job, *others)
        assert isinstance(lost, Lost)
        assert lost.reason
        assert completed(ends)
        watch.backend.stop(job.run, kill=True)
        assert completed(watch.run(a_job()))

    def test_a_job_killed_before_it_began_is_lost_and_never_runs(
        self, watch: Watch, tmp_path: Path
    ) -> None:
        jobs = [a_job(("note", str(tmp_path / "notes"))) for _ in range(10)]
        for job in jobs:
            watch.backend.submit(job)
        for job in jobs[::2]:
            watch.backend.stop(job.run, kill=True)
        ends = watch.wait(*jobs)
        assert all(isinstance(end, Lost) for end in ends[::2])
        assert completed(ends[1::2])
        assert set((tmp_path / "notes").read_text().split()) == {job.run for job in jobs[1::2]}

    def test_a_stop_that_comes_too_late_does_nothing(self, watch: Watch) -> None:
        job = a_job()
        watch.run(job)
        for run in (job.run, "never heard of"):
            watch.backend.stop(run)
            watch.backend.stop(run, kill=True)
        watch.look(0.2)
        assert completed(watch.run(a_job()))

    @pytest.mark.parametrize("how", ["sleep", "spin"])
    def test_a_job_that_takes_too_long_fails(self, watch: Watch, how: str) -> None:
        slow = a_job(("report", 2), (how, 30.0), timeout=0.4)
        others = [a_job(timeout=20.0) for _ in range(10)]
        end, *ends = watch.run(slow, *others)
        assert isinstance(end, Finished)
        assert end.outcome.state is State.FAILED
        assert end.outcome.error is not None
        assert end.outcome.error.kind == "Timeout"
        assert "0.4 s" in end.outcome.error.message
        took = watch.end_times[slow.run] - watch.first_sent[slow.run]
        assert took < 3.0
        assert watch.reports(slow) == [0, 1]
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
                backend.start(scripted(), **options)
        finally:
            backend.close()
        assert time.monotonic() - began < 5

    def test_submit_before_start_and_after_close_is_an_error(self) -> None:
        backend = self.make()
        with pytest.raises(BackendError, match="start"):
            backend.submit(a_job())
        backend.close()
        backend.close()
        with pytest.raises(BackendError, match="start"):
            backend.submit(a_job())

    def test_close_ends_everything_and_a_new_start_begins_afresh(self) -> None:
        threads = set(threading.enumerate())
        backend = self.make()
        pids = set()
        for _ in range(2):
            watch = Watch(backend)
            backend.start(scripted(), workers=1, deliver=watch.take)
            assert backend.capacity == 1
            jobs = [a_job(("sleep", 0.01)) for _ in range(3)]
            assert completed(watch.run(*jobs))
            pids |= {watch.begun(job).pid for job in jobs}
            for _ in range(3):  # left behind
                backend.submit(a_job(("sleep", 5.0)))
            backend.close()
            backend.close()
        deadline = time.monotonic() + 20
        while any(is_alive(pid) for pid in pids - {os.getpid()}):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        left = {t for t in set(threading.enumerate()) - threads if not t.name.startswith("ray_")}
        assert not left


class IsolatingBackendConformance(BackendConformance):
    """Also for backends whose jobs run in processes of their own, at least two at once."""

    workers = 2

    def test_several_jobs_run_at_once(self, watch: Watch, tmp_path: Path) -> None:
        watch.until(lambda: watch.backend.capacity >= 2)
        here, there = str(tmp_path / "here"), str(tmp_path / "there")
        assert completed(watch.run(a_job(("meet", (here, there))), a_job(("meet", (there, here)))))

    def test_reports_arrive_while_the_job_runs(self, watch: Watch) -> None:
        job = a_job(("report", 1), ("sleep", 1.0), ("report", 1))
        watch.run(job)
        delay = watch.first_sent[job.run] - watch.end_times[job.run]
        assert delay < -0.8

    def test_a_long_job_holds_no_other_up(self, watch: Watch) -> None:
        watch.until(lambda: watch.backend.capacity >= 2)
        watch.run(*(a_job() for _ in range(200)))  # jobs are short, it seems
        long, short = a_job(("sleep", 3.0)), [a_job() for _ in range(200)]
        watch.run(*short[:50], long, *short[50:])
        last = max(watch.end_times[job.run] for job in short)
        assert last < watch.end_times[long.run] - 1.5

    def test_a_dying_worker_takes_only_its_own_job(self, watch: Watch, tmp_path: Path) -> None:
        note = ("note", str(tmp_path / "notes"))
        watch.run(*(a_job() for _ in range(200)))
        jobs = [a_job(note) for _ in range(200)]
        for place in (0, 20, 90, 150):
            jobs[place] = a_job(note, ("report", 2), ("die", 1))
        ends = watch.run(*jobs)
        for job, end in zip(jobs, ends, strict=True):
            if job.trial.params["do"][-1][0] == "die":
                assert isinstance(end, Lost)
                assert "died" in end.reason
            else:
                assert completed([end])
        runs = Counter((tmp_path / "notes").read_text().split())
        assert runs == {job.run: 1 for job in jobs}
        assert completed(watch.run(*(a_job() for _ in range(20))))

    def test_a_worker_killed_from_outside(self, watch: Watch) -> None:
        watch.until(lambda: watch.backend.capacity >= 2)
        victim, other = a_job(("sleep", 30.0)), a_job(("sleep", 1.0))

        def shoot(event: Event) -> None:
            if isinstance(event, Sent) and event.run == victim.run:
                os.kill(watch.begun(victim).pid, 9)

        watch.on_event = shoot
        lost, finished = watch.run(victim, other)
        assert isinstance(lost, Lost)
        assert completed([finished])
        assert watch.begun(victim).pid != watch.begun(other).pid

    def test_a_kill_in_a_packet_leaves_the_rest(self, watch: Watch, tmp_path: Path) -> None:
        watch.run(*(a_job() for _ in range(200)))
        note = ("note", str(tmp_path / "notes"))
        jobs = [a_job(note) for _ in range(60)]
        jobs[5] = a_job(note, ("sleep", 30.0))

        def kill(event: Event) -> None:
            if isinstance(event, Sent) and event.run == jobs[5].run:
                watch.backend.stop(jobs[5].run, kill=True)

        watch.on_event = kill
        ends = watch.run(*jobs)
        assert isinstance(ends.pop(5), Lost)
        assert completed(ends)
        assert Counter((tmp_path / "notes").read_text().split()) == {job.run: 1 for job in jobs}

    @pytest.mark.parametrize("then", [("sleep", 1.0), ("die", 1)])
    def test_a_stop_follows_a_job_to_another_worker(
        self, watch: Watch, then: tuple[str, Any]
    ) -> None:
        watch.until(lambda: watch.backend.capacity >= 2)
        watch.run(*(a_job() for _ in range(200)))
        # One worker holds the others up, and gives them back or dies.
        first, *others = jobs = [
            a_job(("sleep", 1.0), then),
            *(a_job(("until_stopped", 20)) for _ in range(8)),
        ]
        asked = False

        def stop(event: Event) -> None:
            nonlocal asked
            if not asked and isinstance(event, Sent) and event.run == first.run:
                asked = True
                for job in others:
                    watch.backend.stop(job.run)

        watch.on_event = stop
        _, *ends = watch.run(*jobs)
        for end in ends:
            assert isinstance(end, Finished)
            assert end.outcome.state is State.STOPPED
        assert max(watch.end_times.values()) - watch.first_sent[first.run] < 10

    def test_a_job_that_lets_no_thread_answer_is_ended_in_time(
        self, watch: Watch, tmp_path: Path
    ) -> None:
        watch.run(*(a_job() for _ in range(200)))
        note = ("note", str(tmp_path / "notes"))
        jobs = [a_job(note, timeout=1.0) for _ in range(60)]
        jobs[10] = a_job(note, ("hog", 10**11), timeout=1.0)
        ends = watch.run(*jobs)
        end = ends.pop(10)
        assert isinstance(end, Finished)
        assert end.outcome.error is not None
        assert end.outcome.error.kind == "Timeout"
        assert completed(ends)
        assert Counter((tmp_path / "notes").read_text().split()) == {job.run: 1 for job in jobs}

    def test_a_job_that_raises_an_interrupt_fails_alone(self, watch: Watch) -> None:
        end, finished = watch.run(a_job(("raise", None)), a_job(("sleep", 0.1)))
        assert isinstance(end, Finished)
        assert end.outcome.error is not None
        assert end.outcome.error.kind == "KeyboardInterrupt"
        assert completed([finished, *watch.run(a_job())])

    def test_params_that_cannot_be_sent_fail_the_job(self, watch: Watch) -> None:
        ok = [a_job() for _ in range(5)]
        bad = Job("bad", Trial(10**9, {"do": [], "lock": threading.Lock()}))
        end, *ends = watch.run(bad, *ok)
        assert isinstance(end, Finished)
        assert end.outcome.error is not None
        assert end.outcome.error.kind == "Unpicklable"
        assert "lock" in end.outcome.error.message
        assert completed(ends)
