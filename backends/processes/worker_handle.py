"""The driver's handle of one worker process, and the detection of stopped processes."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from tuner.backends.os_processes import ProcessIdentity, ProcessState, state_of
from tuner.backends.pools import InspectionClock
from tuner.backends.processes.messages import FrameReader, LoadWork, RunJob, StopJob, as_frame
from tuner.backends.shipping import SharedFile
from tuner.records import Job

DEATH_TIMEOUT = 1.0
"""Seconds to wait for the end of a killed process; a blocking system call can delay it."""

PROGRAM = """\
import json, sys
sys.path, sys.argv, options = json.loads(sys.argv[1])
from tuner.backends.processes.worker import main
main(*options)
"""
"""Starts a worker, which does not import the driver's script: that needs no guard."""


class WorkerHandle:
    """A worker process of a pool.

    Parameters
    ----------
    name
        Its name in the records.
    slot
        Its place in the pool, which decides the GPUs that it uses.
    start_round
        The round of starts in which it is started.
    work
        The file with the pickled work.
    variables
        Environment variables in addition to this process's own.

    Attributes
    ----------
    ready
        Whether it has loaded the work.
    job
        The job that it runs, None if there is none.
    has_started
        Whether it has taken the job.
    job_started
        Start of the job on the monotonic clock.
    identity
        Its process; known once it is ready.
    """

    def __init__(
        self,
        name: str,
        slot: int,
        start_round: int,
        work: SharedFile,
        variables: Mapping[str, str],
    ) -> None:
        self.name = name
        self.slot = slot
        self.start_round = start_round
        self.ready = False
        self.job: Job | None = None
        self.has_started = False
        self.job_started = 0.0
        self.identity = ProcessIdentity(0)
        jobs, self._requests = os.pipe()
        descriptor, events = os.pipe()
        os.set_blocking(descriptor, False)
        self.reader = FrameReader(descriptor)
        try:
            self.process = _launch(name, (jobs, events, work.descriptor), variables)
        except BaseException:
            self._close()
            raise
        finally:
            os.close(jobs)
            os.close(events)
        self._request(LoadWork(work.parts))

    @property
    def idle(self) -> bool:
        """Whether it can accept a job."""
        return self.ready and self.job is None

    def send(self, job: Job) -> None:
        """Send it a job; errors of pickling propagate, and then nothing is sent."""
        request = RunJob(job.run, _pickle_job(job))
        self.job, self.has_started, self.job_started = job, False, time.monotonic()
        self._request(request)

    def take_back(self) -> list[Job]:
        """Return its job if it has not taken it, as it ends."""
        if self.job is None or self.has_started:
            return []
        job, self.job = self.job, None
        return [job]

    def request_stop(self) -> None:
        """Signal its job to end."""
        if self.job is not None:
            self._request(StopJob(self.job.run))

    def is_overdue(self, now: float) -> bool:
        """Whether its job has exceeded its time limit at `now`."""
        limit = None if self.job is None else self.job.timeout
        return limit is not None and now - self.job_started >= limit

    def is_gone(self) -> bool:
        """Whether its process has ended; its id stays in use until `kill`."""
        if not hasattr(os, "waitid"):
            return self.process.poll() is not None
        try:
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self.process.pid, options) is not None
        except ChildProcessError:
            return True

    def kill(self) -> None:
        """Kill its process and the processes that its trials have started, frozen or not."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(DEATH_TIMEOUT)

    def close(self) -> list[Any]:
        """Kill it and return the messages that it had sent."""
        self.kill()
        try:
            return self.reader.read_rest()
        finally:
            self._close()

    def reason(self) -> str:
        """Return the reason of its death."""
        code = self.process.returncode
        if code is None or code >= 0:
            return f"its worker process died: exit code {code}"
        with suppress(ValueError):
            name = signal.Signals(-code).name
            hint = ", as when memory runs out" if -code == signal.SIGKILL else ""
            return f"its worker process died: killed by {name}{hint}"
        return f"its worker process died: killed by signal {-code}"

    def _request(self, message: Any) -> None:
        """Send a message; if the process has died, the end of its pipe reports this."""
        frame = memoryview(as_frame(message))
        with suppress(BrokenPipeError):
            while frame:
                frame = frame[os.write(self._requests, frame) :]

    def _close(self) -> None:
        os.close(self._requests)
        os.close(self.reader.descriptor)


def _pickle_job(job: Job) -> bytes:
    """Return a job; only cloudpickle can send classes of the script, but it is ten times slower."""
    try:
        data = pickle.dumps(job, pickle.HIGHEST_PROTOCOL)
    except Exception:
        # Params of user-defined types may raise any exception.
        data = b"__main__"
    if b"__main__" not in data:
        return data
    import cloudpickle

    return bytes(cloudpickle.dumps(job))


def _launch(
    name: str, descriptors: tuple[int, int, int], variables: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, which Ctrl-C in the terminal does not reach."""
    path = [str(place) or os.getcwd() for place in sys.path]
    argument = json.dumps([path, sys.argv, [name, os.getpid(), *descriptors]])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, argument],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=descriptors,
        env={**os.environ, **variables},
        start_new_session=True,
    )


STOPPED = 10.0
"""Seconds that a busy worker may be stopped."""


class StoppedWorkerDetector:
    """Finds the busy workers of a pool that a signal has stopped, as by ``kill -STOP``."""

    def __init__(self) -> None:
        self._since: dict[WorkerHandle, float] = {}
        self._clock = InspectionClock()

    def check(self, workers: Iterable[WorkerHandle], now: float) -> list[WorkerHandle]:
        """Return the workers that have been stopped for too long at `now` (seconds)."""
        self._clock.advance(now)
        self._since = {
            worker: self._since.get(worker, self._clock.seconds)
            for worker in workers
            if worker.job is not None and state_of(worker.identity) is ProcessState.FROZEN
        }
        return [w for w, since in self._since.items() if self._clock.seconds - since > STOPPED]
