"""The worker process: run jobs one after another on its main thread."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import threading
from contextlib import suppress
from typing import Any, NoReturn

from tuner.backends.os_processes import exit_with_parent, this_process
from tuner.backends.process_cleaner import ProcessCleaner
from tuner.backends.processes.messages import (
    FrameReader,
    FrameWriter,
    Leaving,
    Loaded,
    LoadWork,
    RunJob,
    Started,
    StopJob,
)
from tuner.backends.protocol import Finished, Sent, Work
from tuner.backends.shipping import load_work, map_parts
from tuner.records import Failure, Job, Message, Outcome, State
from tuner.records.tracebacks import describe


def main(name: str, driver: int, jobs: int, events: int, work: int) -> None:
    """Serve the driver of process id `driver` until it ends or kills this process.

    `jobs` and `events` are the descriptors of pipes from and to the driver; `work` is the
    descriptor of the shared file with the work.
    """
    exit_with_parent(driver)
    if os.getppid() != driver:
        os._exit(1)
    for descriptor in (jobs, events, work):
        os.set_inheritable(descriptor, False)
    os.register_at_fork(after_in_child=lambda: _close(jobs, events))
    WorkerProcess(name, FrameReader(jobs), FrameWriter(events)).serve(work)


class WorkerProcess:
    """Runs the jobs that the driver sends.

    A thread receives the driver's requests, so that a running job sees that it is to stop.
    """

    def __init__(self, name: str, reader: FrameReader, writer: FrameWriter) -> None:
        self._name = name
        self._reader = reader
        self._writer = writer
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stopping = ""
        threading.Thread(target=self._receive, name="tuner-requests", daemon=True).start()

    def serve(self, descriptor: int) -> None:
        """Load the work, then run jobs until this process must be replaced."""
        request: LoadWork = self._requests.get()
        work, problem = load_work(*map_parts(descriptor, request.parts))
        os.close(descriptor)
        cleaner = ProcessCleaner()
        self._writer.write(Loaded(this_process(), problem))
        while work is not None:
            self._run(work, self._requests.get())
            if reason := cleaner.clean():
                self._writer.write(Leaving(reason))
                return

    def _run(self, work: Work, request: RunJob) -> None:
        self._writer.write(Started())
        try:
            job: Job = pickle.loads(request.job)
        except Exception as error:
            # Loading params of user-defined types may raise any exception.
            failure = Failure("Unpicklable", f"params cannot be loaded in a worker: {error}")
            outcome = Outcome(State.FAILED, error=failure)
        else:
            outcome = self._outcome(work, job)
        self._writer.write(Finished(request.run, outcome))

    def _outcome(self, work: Work, job: Job) -> Outcome:
        try:
            return work(job, ProcessChannel(self._name, job.run, self))
        except KeyboardInterrupt as error:
            # Ctrl-C does not reach this process, so the objective raised it.
            return Outcome(State.FAILED, error=describe(error))

    def send(self, event: Sent) -> None:
        """Send an event; it arrives even if this process dies next."""
        self._writer.write(event)

    def is_stopping(self, run: str) -> bool:
        """Whether a job has been asked to end."""
        return self._stopping == run

    def _receive(self) -> None:
        while not self._reader.at_end:
            for request in self._reader.read():
                if isinstance(request, StopJob):
                    self._stopping = request.run
                else:
                    self._requests.put(request)
        _end_group()


class ProcessChannel:
    """The channel of one job in this process."""

    __slots__ = ("_owner", "_run", "worker")

    def __init__(self, worker: str, run: str, owner: WorkerProcess) -> None:
        self.worker = worker
        self._run = run
        self._owner = owner

    def send(self, message: Message) -> None:
        """Send a message to the driver."""
        self._owner.send(Sent(self._run, message))

    def stop_requested(self) -> bool:
        """Whether the driver has asked this job to end."""
        return self._owner.is_stopping(self._run)


def _end_group() -> NoReturn:
    """End this process and those that its trials have started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _close(*descriptors: int) -> None:
    """Close the pipes in a forked child, which would keep them open after the worker's death."""
    for descriptor in descriptors:
        with suppress(OSError):
            os.close(descriptor)
