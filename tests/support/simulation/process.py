"""A simulated process that drives a study, with its store and its workers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

from support.simulation.checker import STALE
from support.simulation.history import Submitted
from support.simulation.inline_writer import InlineWriter
from support.simulation.plan import Plan
from tuner.backends import SimulatedBackend, lognormal
from tuner.backends.protocol import Channel, Event, Finished, Lost, Sent
from tuner.engine.driver import Driver, Session
from tuner.engine.machine_state import Limits
from tuner.engine.progress import Display
from tuner.errors import StoreUnavailable, TunerError
from tuner.optimizers import RandomOptimizer, TPEOptimizer
from tuner.records import (
    Begun,
    Environment,
    Failure,
    Goal,
    Job,
    Outcome,
    Output,
    Report,
    State,
    StudyInfo,
)
from tuner.schedulers import ASHA
from tuner.search_spaces import Float, Space
from tuner.tracking.lease import Lease, LeaseOwner
from tuner.tracking.store import Store
from tuner.tracking.uuid7 import uuid7

if TYPE_CHECKING:
    from support.simulation.world import World

LEASE = 30.0
POLL = 5.0
SPACE = Space({"x": Float(0, 1)})
GOALS = (Goal(),)


class Killed(BaseException):
    """Raised in a driver to simulate the death of its process."""


class Process:
    """One process that drives the study."""

    def __init__(self, number: int, world: World) -> None:
        self.number = number
        self.world = world
        self.dead = False
        self.frozen_until = 0.0
        self.pauses = 0
        self.store = FaultyStore(self, world.stores[number % len(world.stores)])
        self.backend = RecordingBackend(self)
        self.skew = world.rng.uniform(-1, 1) * world.plan.skew
        self._greenlet = greenlet(self._main)

    @property
    def over(self) -> bool:
        return self._greenlet.dead

    def resume(self) -> None:
        """Let it run to its next pause."""
        self._greenlet.parent = getcurrent()
        self._greenlet.switch()

    def clock(self) -> float:
        """Return the time by this machine's clock."""
        return self.world.clock() + self.skew

    def now(self) -> float:
        return self.clock()

    def elapsed(self) -> float:
        """Return the monotonic time, which is never skewed."""
        return self.world.clock()

    def sleep(self, seconds: float) -> None:
        self.world.pause(self)
        self.world.clock.advance_to(self.world.clock() + seconds)

    def _main(self) -> None:
        history = self.world.history
        try:
            history.ends[self.number] = str(self._drive())
        except Killed:
            pass
        except (TunerError, KeyboardInterrupt) as error:
            history.ends[self.number] = type(error).__name__
        except Exception as error:
            # An unexpected error: the checker reports its seed.
            history.ends[self.number] = f"{type(error).__name__}: {error}"

    def _drive(self) -> str:
        plan = self.world.plan
        optimizer = TPEOptimizer() if plan.tpe else RandomOptimizer()
        known = self.store.find_study(self.world.name)
        info = known or StudyInfo(
            uuid7(), self.world.name, SPACE.to_dict(), SPACE.fingerprint, GOALS, 0, 0.0
        )
        optimizer.reset(SPACE, GOALS, info.seed)
        scheduler = ASHA(grace=1, reduction=2) if plan.asha else None
        if scheduler is not None:
            scheduler.reset(GOALS)
        session = Session(
            info=info,
            store=self.store,
            optimizer=optimizer,
            backend=self.backend,
            work=partial(work, plan, self.world.seed),
            limits=Limits(
                plan.n_trials,
                plan.timeout,
                plan.trial_timeout,
                max_retries=plan.max_retries,
                max_lost=2,
                max_identical_failures=None,
            ),
            progress=Display(None),
            scheduler=scheduler,
            environment=Environment("3", "simulated"),
            listeners=[self.world.history.told[self.number].append],
            clock=self,
            # Unique, because this process remembers owners that ended.
            owner=LeaseOwner(f"host-{self.number}", self.number, uuid7()),
            lease=LEASE,
            writer=self._writer,
        )
        return str(Driver(session).run())

    def _writer(self, store: Any, lease: Lease) -> InlineWriter:
        return InlineWriter(store, lease, clock=self.elapsed, sleep=self.sleep)


def work(plan: Plan, seed: int, job: Job, channel: Channel) -> Outcome:
    """Act as an objective; no two attempts of a trial have the same outcome."""
    value = job.trial.number + job.attempt / 100
    channel.send(Begun(channel.worker, "host", 1, 0.0))
    for step in range(plan.steps):
        channel.send(Report(step, {"value": value + step}))
        if channel.stop_requested():
            channel.send(Output("", 0.0))
            return Outcome(State.STOPPED, {"value": value + step})
    channel.send(Output("", 0.0))
    if random.Random(f"{seed} {job.trial.number} {job.attempt}").random() < plan.failing:
        return Outcome(State.FAILED, error=Failure("ValueError", "bad luck"))
    return Outcome(State.COMPLETED, {"value": value})


class FaultyStore:
    """The real store, with faults injected for one process."""

    def __init__(self, process: Process, store: Store) -> None:
        self._process = process
        self._store = store

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._store, name)
        return partial(self._call, name, value) if callable(value) else value

    def _call(self, name: str, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        method = partial(method, **options)
        me, world = self._process, self._process.world
        world.pause(me)
        if world.clock() < world.away_until or world.happens(world.plan.refuse):
            raise StoreUnavailable("not now")
        if name == "write" and world.happens(world.plan.late):
            # The write is executed later, when its caller no longer waits.
            world.late.append((world.clock() + world.rng.expovariate(0.05), me, method, args))
            raise StoreUnavailable("no answer")
        try:
            result = world.transact(me, method, args)
        finally:
            world.observe(me)
        if name == "acquire_lease":
            world.history.epochs[me.number] = result.epoch
        if world.happens(world.plan.unanswered):
            raise StoreUnavailable("no answer")
        world.pause(me)
        return result


class RecordingBackend:
    """The simulated workers of one process; may also deliver stale events."""

    def __init__(self, process: Process) -> None:
        self._process = process
        world, plan = process.world, process.world.plan
        self._workers = SimulatedBackend(
            lognormal(4.0, 0.7),
            workers=plan.workers,
            seed=world.rng.getrandbits(32),
            faults=plan.faults,
            sizes=plan.sizes,
            clock=world.clock,
        )
        self._active: set[str] = set()

    def start(self, work: Any, **options: Any) -> None:
        self._process.world.pause(self._process)
        self._workers.start(work, **options)

    @property
    def capacity(self) -> int:
        return self._workers.capacity

    @property
    def size(self) -> int:
        return self._workers.size

    def submit(self, job: Job) -> None:
        me, history = self._process, self._process.world.history
        me.world.pause(me)
        history.submitted.append(
            Submitted(len(history.snapshots), me.number, job.trial.number, job.run)
        )
        self._active.add(job.run)
        self._workers.submit(job)

    def events(self, timeout: float) -> Sequence[Event]:
        me, world = self._process, self._process.world
        world.pause(me)
        if world.happens(world.plan.interrupt):
            raise KeyboardInterrupt
        events = list(self._workers.events(min(timeout, POLL)))
        ended = {e.run for e in events if isinstance(e, Finished | Lost)}
        stale = world.rng.choice(world.sent) if world.sent else None
        if stale and stale.run not in self._active and world.happens(world.plan.stale):
            events.insert(world.rng.randint(0, len(events)), with_stale_value(stale))
        self._active -= ended
        world.sent += [e for e in events if isinstance(e, Finished | Sent)]
        return events

    def stop(self, run: str, *, kill: bool = False) -> None:
        if not self._process.dead:
            self._workers.stop(run, kill=kill)

    def close(self) -> None:
        if self._process.dead:
            # Workers outlive the driver; their outcomes become stale events.
            with suppress(TunerError):
                self._process.world.sent += [
                    e for e in self._workers.events(0.0) if isinstance(e, Finished | Sent)
                ]
        self._workers.close()


def with_stale_value(stale: Event) -> Event:
    """Return the event with a recognizable value."""
    if isinstance(stale, Finished) and stale.outcome.metrics:
        return Finished(stale.run, Outcome(State.COMPLETED, {"value": STALE}))
    return stale
