"""Scripted jobs and an event recorder for the conformance tests of backends."""

from __future__ import annotations

import itertools
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tuner.backends.protocol import Backend, Channel, Event, Finished, Lost, Resized, Sent, Work
from tuner.records import Begun, Failure, Job, Outcome, Output, Report, State, Trial, Upload

PATIENCE = 60.0
"""Seconds within which anything must happen; a busy machine starts a process in several."""

_numbers = itertools.count()


def scripted() -> Work:
    """Return a work that does what the job's params say, step by step."""

    def work(job: Job, channel: Channel) -> Outcome:
        import time

        channel.send(Begun(channel.worker, "here", os.getpid(), time.time()))
        for verb, arg in job.trial.params["do"]:
            if verb == "report":
                for step in range(arg):
                    channel.send(Report(step, {"value": float(step)}))
            elif verb == "sleep":
                time.sleep(arg)
            elif verb == "spin":
                end = time.monotonic() + arg
                while time.monotonic() < end:
                    pass
            elif verb == "hog":  # native code that lets no other thread run
                sum(range(arg))
            elif verb == "upload":
                channel.send(Upload("big", {"file": bytes(range(256)) * (arg // 256)}))
            elif verb == "note":
                with open(arg, "a") as file:
                    file.write(f"{job.run}\n")
            elif verb == "meet":
                own, other = arg
                open(own, "w").close()
                while not os.path.exists(other):
                    time.sleep(0.005)
            elif verb == "until_stopped":
                end = time.monotonic() + arg
                while time.monotonic() < end:
                    if channel.stop_requested():
                        return Outcome(State.STOPPED)
                    time.sleep(0.005)
            elif verb == "fail":
                return Outcome(State.FAILED, {"value": 1.0}, Failure("ValueError", arg, "", "f:1"))
            elif verb == "die":
                os._exit(arg)
            elif verb == "raise":
                raise KeyboardInterrupt
        channel.send(Output(f"run {job.run}\n", time.time()))
        return Outcome(State.COMPLETED, {"value": float(job.trial.number)})

    return work


def a_job(*do: tuple[str, Any], timeout: float | None = None, attempt: int = 1) -> Job:
    """Return a job with a token of its own that does these steps."""
    number = next(_numbers)
    return Job(f"run-{number}", Trial(number, {"do": do}), attempt, timeout)


class Watch:
    """Collects what a backend says and checks the order in which it says it."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.sent: dict[str, list[Any]] = defaultdict(list)
        self.ends: dict[str, Finished | Lost] = {}
        self.end_times: dict[str, float] = {}
        self.first_sent: dict[str, float] = {}
        self.on_event: Callable[[Event], None] = lambda _event: None

    def take(self, event: Event) -> None:
        """Take in one event."""
        if not isinstance(event, Resized):
            assert event.run not in self.ends, f"{event} came after {self.ends[event.run]}"
        if isinstance(event, Sent):
            self.sent[event.run].append(event.message)
            self.first_sent.setdefault(event.run, time.monotonic())
        elif isinstance(event, Finished | Lost):
            self.ends[event.run] = event
            self.end_times[event.run] = time.monotonic()
        self.on_event(event)

    def look(self, timeout: float = 0.05) -> None:
        """Take in what happens within `timeout` seconds."""
        for event in self.backend.events(timeout):
            self.take(event)

    def until(self, done: Callable[[], bool]) -> None:
        """Take in events until `done`."""
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline, f"after {PATIENCE} s: {self.ends}"
            self.look(1.0)

    def run(self, *jobs: Job) -> list[Finished | Lost]:
        """Submit jobs and return their ends, when all have ended and nothing else comes."""
        for job in jobs:
            self.backend.submit(job)
        return self.wait(*jobs)

    def wait(self, *jobs: Job) -> list[Finished | Lost]:
        """Return the ends of jobs that have been submitted."""
        self.until(lambda: all(job.run in self.ends for job in jobs))
        self.look()
        return [self.ends[job.run] for job in jobs]

    def reports(self, job: Job) -> list[int]:
        """Return the steps that a job has reported."""
        return [message.step for message in self.sent[job.run] if isinstance(message, Report)]

    def begun(self, job: Job) -> Begun:
        """Return a job's own word that it has begun."""
        begun = self.sent[job.run][0]
        assert isinstance(begun, Begun)
        return begun


def completed(ends: Sequence[Finished | Lost]) -> bool:
    """Whether all ended well."""
    return all(isinstance(e, Finished) and e.outcome.state is State.COMPLETED for e in ends)


def is_alive(pid: int) -> bool:
    """Whether a process runs (one that has ended but was not waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] not in "ZX"
    except OSError:
        return False
