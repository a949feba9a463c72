"""Run jobs on Ray workers in batches, so that short jobs do not wait for a round trip each.

Jobs of a few milliseconds are sent in batches of about one second. The pool does not see batches: a
job queued behind a long one moves to an idle worker, killing a job affects no other job, and the
death of a worker loses only the job that it ran.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from tuner.backends.pools import lost, unsendable
from tuner.backends.protocol import Event, Finished, Lost, taken_back, timed_out
from tuner.backends.ray.health import SILENCE, reason
from tuner.backends.ray.worker import BatchDone, JobState
from tuner.backends.ray.worker_handle import ANSWER_TIMEOUT, POLL_TIMEOUT, WorkerHandle
from tuner.records import Job

FIRST_POLL = 0.03
"""Seconds that a batch runs before the driver polls it for messages."""

RECLAIM_AFTER = 0.02
"""Seconds that a job may run before idle workers get the jobs queued behind it."""

BATCH_SECONDS = 1.0
"""Seconds of work in one batch; a worker idles for milliseconds between two batches."""

MAX_BATCH = 64
"""Maximum number of jobs in a batch."""

MAX_MOVES = 3
"""Number of times a worker may die before any job of its batch starts, until a job is lost."""


class JobQueue:
    """Returns jobs in batches of about `BATCH_SECONDS` seconds, estimated from recent durations."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._moves: Counter[str] = Counter()
        self._seconds_per_job = BATCH_SECONDS  # one job at a time until a duration is known

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, run: str) -> bool:
        return any(job.run == run for job in self._jobs)

    def add(self, job: Job) -> None:
        """Append a job."""
        self._jobs.append(job)

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Put jobs at the front, in their order."""
        self._jobs.extendleft(reversed(jobs))

    def move(self, jobs: Iterable[Job]) -> list[Job]:
        """Requeue a batch whose worker died before any job started; return abandoned jobs."""
        jobs = list(jobs)
        self._moves.update(job.run for job in jobs)
        self.put_back([job for job in jobs if self._moves[job.run] <= MAX_MOVES])
        return [job for job in jobs if self._moves[job.run] > MAX_MOVES]

    def remove(self, run: str) -> bool:
        """Remove a job; return whether it was queued."""
        before = len(self._jobs)
        self._jobs = deque(job for job in self._jobs if job.run != run)
        return len(self._jobs) < before

    def learn(self, seconds_per_job: float) -> None:
        """Update the estimate with the seconds per job of a batch."""
        self._seconds_per_job = 0.5 * self._seconds_per_job + 0.5 * seconds_per_job

    def next_batch(self, share: int) -> list[Job]:
        """Return up to `share` jobs, at least one; a job that may have killed a worker runs alone.

        The cause of an earlier failure must not delay other jobs.
        """
        size = max(1, min(share, MAX_BATCH, int(BATCH_SECONDS / max(self._seconds_per_job, 1e-6))))
        batch = [self._jobs.popleft()]
        while self._jobs and len(batch) < size and not self._is_suspect(batch[0]):
            if self._is_suspect(self._jobs[0]):
                break
            batch.append(self._jobs.popleft())
        return batch

    def _is_suspect(self, job: Job) -> bool:
        return job.attempt > 1 or job.run in self._moves

    def clear(self) -> None:
        """Drop all jobs."""
        self._jobs.clear()
        self._moves.clear()


class JobDispatcher:
    """Runs jobs on the workers of a pool; batches them, and hides this from the pool.

    Its methods return the events that follow from each call, in order.

    Parameters
    ----------
    workers
        The workers of the pool; the pool adds to this list.
    discard
        Kills a worker, removes it from the pool and returns the resulting events.
    """

    def __init__(
        self, workers: list[WorkerHandle], discard: Callable[[WorkerHandle], list[Event]]
    ) -> None:
        self._workers = workers
        self._discard = discard
        self._queue = JobQueue()
        self._stopping: set[str] = set()

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._queue.add(job)

    def clear(self) -> None:
        """Drop all queued jobs."""
        self._queue.clear()
        self._stopping.clear()

    def forget_ended(self, events: Sequence[Event]) -> None:
        """Drop the stop requests of jobs that ended."""
        if self._stopping:
            self._stopping -= {e.run for e in events if isinstance(e, Finished | Lost)}

    # --- sending jobs -------------------------------------------------------------------------

    def dispatch(self) -> list[Event]:
        """Give each idle worker its next batch, an even share of the queue."""
        events: list[Event] = []
        idle = [worker for worker in self._workers if worker.idle]
        for n, worker in enumerate(idle):
            if not self._queue:
                break
            # Without a journal, the results of a batch would be lost with its worker.
            share = -(-len(self._queue) // (len(idle) - n)) if worker.shared else 1
            events += self._send(worker, self._queue.next_batch(share))
        self._reclaim_queued()
        return events

    def _send(self, worker: WorkerHandle, batch: Sequence[Job]) -> list[Event]:
        try:
            worker.send(batch)
        except Exception as error:
            # Pickling params of user-defined types may raise any exception.
            if len(batch) > 1:
                self._queue.put_back(batch[1:])
                return self._send(worker, batch[:1])
            return [unsendable(batch[0], error)]
        for job in batch:
            if job.run in self._stopping:
                worker.request_stop(job.run)
        return []

    def _reclaim_queued(self) -> None:
        """Reclaim jobs queued behind a long one if other workers are idle."""
        if self._queue or not any(worker.idle for worker in self._workers):
            return
        now = time.monotonic()
        for worker in self._workers:
            overlong = len(worker.batch) > 1 and now - worker.job_started > RECLAIM_AFTER
            if overlong and worker.reclaiming is None:
                worker.reclaim()

    def poll(self) -> float:
        """Poll busy workers for messages; return the seconds until the next action is due."""
        soonest = POLL_TIMEOUT
        now = time.monotonic()
        any_idle = any(worker.idle for worker in self._workers)
        for worker in self._workers:
            if worker.running is None:
                continue
            if worker.polling is None and (due := worker.job_started + FIRST_POLL - now) <= 0:
                worker.poll()
            elif worker.polling is None:
                soonest = min(soonest, due)
            if any_idle and len(worker.batch) > 1 and worker.reclaiming is None:
                soonest = min(soonest, max(0.001, worker.job_started + RECLAIM_AFTER - now))
            limit = next((job.timeout for job in worker.batch.values()), None)
            if limit is not None:
                soonest = min(soonest, max(0.001, worker.job_started + limit - now))
        return soonest

    # --- answers of workers -------------------------------------------------------------------

    def collect(self, worker: WorkerHandle, answered: Collection[Any]) -> list[Event]:
        """Process a worker's answers, given the references that have been answered."""
        if worker.running in answered:
            return self._on_batch_done(worker)
        events = worker.take_poll() if worker.polling in answered else []
        if worker.reclaiming in answered:
            self._on_reclaimed(worker)
        return events

    def _on_batch_done(self, worker: WorkerHandle) -> list[Event]:
        """Return the last events of a batch, or the events that follow from its worker's death."""
        import ray

        # Events of an earlier poll come first; the worker may have frozen since.
        events = worker.take_poll(timeout=SILENCE)
        try:
            done: BatchDone = ray.get(worker.running)
        except ray.exceptions.RayError as error:
            # The state of a worker that is temporarily unreachable is unknown.
            certain = isinstance(error, _fatal_errors())
            end = lost(reason(error))
            return events + self._on_death(worker, end, certain=certain)
        self._queue.learn(done.seconds_per_job)
        events += worker.accept(done.events)
        left = worker.release()
        # Some were reclaimed by a request whose answer is unread; others ended unreported.
        self._queue.put_back([job for job in left if job.run in done.reclaimed])
        missing = [job for job in left if job.run not in done.reclaimed]
        events += [Lost(job.run, "its outcome did not arrive") for job in missing]
        return events + self._discard(worker) if done.needs_restart else events

    def _on_reclaimed(self, worker: WorkerHandle) -> None:
        """Requeue the jobs that a worker has given up."""
        import ray

        reclaiming, worker.reclaiming = worker.reclaiming, None
        try:
            runs = ray.get(reclaiming)
        except ray.exceptions.RayError:
            return  # the answer for the batch reports its death
        self._queue.put_back([worker.batch.pop(run) for run in runs if run in worker.batch])

    def _on_death(
        self, worker: WorkerHandle, end: Callable[[Job], Finished | Lost], *, certain: bool
    ) -> list[Event]:
        """Return the events for a dead worker's jobs: `end` for a started one; requeue the others.

        All jobs are lost unless it is `certain` that the worker starts no more of them.
        """
        events, begun, waiting = worker.post_mortem()
        if certain:
            events += [end(job) for job in begun]
            if begun:
                self._queue.put_back(waiting)
            else:  # one job may kill its workers, for example by params that fail to unpickle
                given_up = self._queue.move(waiting)
                events += [Lost(job.run, "its workers died before it began") for job in given_up]
        else:
            events += [Lost(job.run, "its worker cannot be reached") for job in begun + waiting]
        return events + self._discard(worker)

    # --- ending jobs --------------------------------------------------------------------------

    def stop(self, run: str, *, kill: bool) -> list[Event]:
        """Ask a job to end soon, or kill its worker."""
        worker = self._worker_of(run)
        if not kill:
            if worker is not None or run in self._queue:
                # Keep the request until the job ends: it may be queued or move to another worker.
                self._stopping.add(run)
            if worker is not None:
                worker.request_stop(run)
            return []
        events: list[Event] = []
        if worker is not None and worker.reclaiming is not None:
            self._await_reclaimed(worker)
            worker = self._worker_of(run)
        if worker is not None:
            end = lost("its worker was ended")
            events += self._kill(worker, run, worker.request_cancel(run), end)
        if self._queue.remove(run):
            events.append(taken_back(run))
        return events

    def kill_overdue(self) -> list[Event]:
        """Kill the workers of jobs that exceed their time limit."""
        import ray

        now = time.monotonic()
        overdue: list[tuple[WorkerHandle, Job, Any]] = []
        for worker in self._workers:
            job = next(iter(worker.batch.values()), None)
            if job is None or job.timeout is None or now - worker.job_started < job.timeout:
                continue
            overdue.append((worker, job, worker.request_cancel(job.run, after=job.timeout)))
        if overdue:  # wait for all together: each hung worker takes the full timeout
            refs = [ref for _, _, ref in overdue]
            ray.wait(refs, num_returns=len(refs), timeout=ANSWER_TIMEOUT)
        events: list[Event] = []
        for worker, job, ref in overdue:
            events += self._kill(worker, job.run, ref, timed_out, timeout=0.0)
        return events

    def kill_hung(self, worker: WorkerHandle, why: str) -> list[Event]:
        """Kill a worker that is frozen or whose node does not answer."""
        worker.kill(hung=True)
        return self._on_death(worker, lost(why), certain=worker.is_dead())

    def _kill(
        self,
        worker: WorkerHandle,
        run: str,
        request: Any,
        end: Callable[[Job], Finished | Lost],
        timeout: float = ANSWER_TIMEOUT,
    ) -> list[Event]:
        """Kill the worker of a job if its answer to the cancel `request` confirms the job.

        A worker that answers has sent all results of the other jobs of its batch. One that does
        not answer is blocked by the job that it runs, which may be a different one.
        """
        cancellation = worker.cancel(request, timeout)
        if cancellation.state is JobState.WAITING:
            del worker.batch[run]
            return [taken_back(run)]
        if cancellation.state is JobState.OVER:
            return []
        events = worker.take_poll(timeout=ANSWER_TIMEOUT if cancellation.answered else 0.0)
        events += worker.accept(cancellation.events)
        worker.kill(hung=not cancellation.answered)
        certain = cancellation.answered or worker.is_dead()
        return events + self._on_death(worker, end, certain=certain)

    def _await_reclaimed(self, worker: WorkerHandle) -> None:
        """Process the answer to a pending reclaim request."""
        import ray

        ready, _ = ray.wait([worker.reclaiming], timeout=ANSWER_TIMEOUT)
        if ready:
            self._on_reclaimed(worker)

    def _worker_of(self, run: str) -> WorkerHandle | None:
        """Return the worker that holds a job, as far as the driver knows."""
        return next((worker for worker in self._workers if run in worker.batch), None)


def _fatal_errors() -> tuple[type[Exception], ...]:
    """Return the Ray errors that mean that a worker has stopped running jobs."""
    from ray import exceptions

    return exceptions.ActorDiedError, exceptions.OutOfMemoryError, exceptions.RayTaskError
