"""Scripted jobs, and a recorder of the events of a backend, for the suite of backends."""

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

TIMEOUT = 60.0
"""Seconds until a missing event fails a test; a loaded machine needs several to start a process."""

_numbers = itertools.count()


def scripted_work() -> Work:
    """Return work that executes the list of (verb, argument) pairs ``params["do"]`` of a job."""

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
            elif verb == "hog":  # native code that holds the global interpreter lock
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


def make_job(*do: tuple[str, Any], timeout: float | None = None, attempt: int = 1) -> Job:
    """Return a job with a unique run and trial number that executes these steps."""
    number = next(_numbers)
    return Job(f"run-{number}", Trial(number, {"do": do}), attempt, timeout)


class EventRecorder:
    """Records the events of a backend, and fails if one follows the end of its job."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.sent: dict[str, list[Any]] = defaultdict(list)
        self.ends: dict[str, Finished | Lost] = {}
        self.end_times: dict[str, float] = {}
        self.first_sent: dict[str, float] = {}
        self.on_event: Callable[[Event], None] = lambda _event: None

    def record(self, event: Event) -> None:
        """Record one event."""
        if not isinstance(event, Resized):
            assert event.run not in self.ends, f"{event} came after {self.ends[event.run]}"
        if isinstance(event, Sent):
            self.sent[event.run].append(event.message)
            self.first_sent.setdefault(event.run, time.monotonic())
        elif isinstance(event, Finished | Lost):
            self.ends[event.run] = event
            self.end_times[event.run] = time.monotonic()
        self.on_event(event)

    def poll(self, timeout: float = 0.05) -> None:
        """Record the events of the next `timeout` seconds."""
        for event in self.backend.events(timeout):
            self.record(event)

    def until(self, done: Callable[[], bool]) -> None:
        """Record events until `done` returns True."""
        deadline = time.monotonic() + TIMEOUT
        while not done():
            assert time.monotonic() < deadline, f"after {TIMEOUT} s: {self.ends}"
            self.poll(1.0)

    def run(self, *jobs: Job) -> list[Finished | Lost]:
        """Submit jobs, wait for all of them, and return the event that ended each."""
        for job in jobs:
            self.backend.submit(job)
        return self.wait(*jobs)

    def wait(self, *jobs: Job) -> list[Finished | Lost]:
        """Wait for submitted jobs, and return the event that ended each."""
        self.until(lambda: all(job.run in self.ends for job in jobs))
        self.poll()
        return [self.ends[job.run] for job in jobs]

    def reports(self, job: Job) -> list[int]:
        """Return the steps that a job reported, in order of arrival."""
        return [message.step for message in self.sent[job.run] if isinstance(message, Report)]

    def begun(self, job: Job) -> Begun:
        """Return the first message of a job, which names its worker and process."""
        begun = self.sent[job.run][0]
        assert isinstance(begun, Begun)
        return begun


def completed(ends: Sequence[Finished | Lost]) -> bool:
    """Return whether all jobs completed."""
    return all(isinstance(e, Finished) and e.outcome.state is State.COMPLETED for e in ends)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] not in "ZX"
    except OSError:
        return False
