"""A world in which drivers are killed, frozen and cut off from their store, on one thread.

Each driver is a greenlet that runs the real `Driver` over a real SQLite file. Wherever it touches
the store, or waits for its workers, it comes by `World.pause`: there it may be killed, be frozen
for longer than its lease lasts, or have to wait while others go on. All chance is of one seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from greenlet import getcurrent, greenlet
from sqlalchemy import Engine, event

from simulation.checker import STALE
from simulation.history import History, Observer, Submitted
from tuner.backends import Faults, SimulatedBackend, lognormal
from tuner.backends.protocol import Channel, Event, Finished, Lost, Sent
from tuner.backends.virtual_clock import VirtualClock
from tuner.engine.driver import Driver, Session
from tuner.engine.inline_writer import InlineWriter
from tuner.engine.limits import Limits
from tuner.errors import StoreUnavailable, TunerError
from tuner.optimizers import RandomOptimizer, TPEOptimizer
from tuner.progress import NoProgress
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
from tuner.tracking.lease import Holder, Lease
from tuner.tracking.sql_store import SqlStore
from tuner.tracking.uuid7 import uuid7

LEASE = 30.0
POLL = 5.0
SPACE = Space({"x": Float(0, 1)})
GOALS = (Goal(),)
TURNS = 10_000
"""Turns of drivers after which a sweep counts as one that never ends; most take some hundreds."""


class Killed(BaseException):
    """The driver's process is no more: nothing it has yet to do is done."""


@dataclass(frozen=True)
class Plan:
    """What a sweep is like and what may happen to it; all probabilities are for one pause.

    `kill_at` kills the first driver at that pause of its, whatever the probabilities say.
    """

    n_trials: int = 6
    workers: int = 2
    steps: int = 2
    failing: float = 0.0
    asha: bool = False
    tpe: bool = False
    lookahead: int = 1
    max_retries: int = 1
    trial_timeout: float | None = 60.0
    timeout: float | None = None
    faults: Faults = field(default_factory=Faults)
    sizes: tuple[tuple[float, int], ...] = ()
    kill: float = 0.0
    kill_at: int | None = None
    freeze: float = 0.0
    interrupt: float = 0.0
    refuse: float = 0.0
    unanswered: float = 0.0
    late: float = 0.0
    outage: float = 0.0
    second_driver: float = 0.0
    stale: float = 0.0
    skew: float = 0.0
    most_faults: int = 15

    def killed_at(self, pause: int) -> Plan:
        """Return the same, but the first driver is killed at that pause of its."""
        return replace(self, kill_at=pause)

    @classmethod
    def of(cls, seed: int) -> Plan:
        """Return what a seed stands for: some faults often, and most of the others not at all."""
        rng = random.Random(f"plan {seed}")

        def sometimes(highest: float) -> float:
            return rng.choice((0.0, 0.3, 1.0)) * highest

        workers = rng.randint(1, 4)
        sizes = [(rng.uniform(0, 20), rng.randint(0, workers)) for _ in range(rng.randint(0, 2))]
        return cls(
            n_trials=rng.randint(1, 6),
            workers=workers,
            steps=rng.randint(0, 2),
            failing=sometimes(0.3),
            asha=rng.random() < 0.4,
            tpe=rng.random() < 0.1,
            lookahead=rng.choice((1, 1, 4)),
            max_retries=rng.randint(0, 2),
            timeout=rng.choice((None, None, 40.0)),
            faults=Faults(
                crash=sometimes(0.1),
                freeze=sometimes(0.05),
                lost=sometimes(0.1),
                delay=sometimes(4.0),
                duplicate=sometimes(0.3),
                restart=sometimes(10.0),
            ),
            sizes=(*sorted(sizes), (20.0, workers)) if sizes else (),
            kill=sometimes(0.02),
            freeze=sometimes(0.02),
            interrupt=sometimes(0.004),
            refuse=sometimes(0.03),
            unanswered=sometimes(0.05),
            late=sometimes(0.1),
            outage=sometimes(0.005),
            second_driver=sometimes(0.02),
            stale=sometimes(0.2),
            skew=sometimes(1000.0),
        )


class Process:
    """One process that drives the study, from its call to its end."""

    def __init__(self, number: int, world: World) -> None:
        self.number = number
        self.world = world
        self.dead = False
        self.frozen_until = 0.0
        self.pauses = 0
        self.store = FaultyStore(self, world.stores[number % len(world.stores)])
        self.backend = WatchedBackend(self)
        self.skew = world.rng.uniform(-1, 1) * world.plan.skew
        self._greenlet = greenlet(self._main)

    @property
    def over(self) -> bool:
        return self._greenlet.dead

    def go_on(self) -> None:
        """Let it run to its next pause."""
        self._greenlet.parent = getcurrent()
        self._greenlet.switch()

    def clock(self) -> float:
        """Return the time by this machine's clock."""
        return self.world.clock() + self.skew

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
                same_failures=None,
            ),
            progress=NoProgress(),
            scheduler=scheduler,
            environment=Environment("3", "simulated"),
            listeners=[self.world.history.told[self.number].append],
            clock=self.clock,
            holder=Holder(f"host-{self.number}", self.number),
            lease=LEASE,
            writer=self._writer,
        )
        return str(Driver(session).run())

    def _writer(self, store: Any, lease: Lease) -> InlineWriter:
        return InlineWriter(store, lease, clock=self.clock, sleep=self.sleep)


def work(plan: Plan, seed: int, job: Job, channel: Channel) -> Outcome:
    """Do what an objective does; no two attempts of a trial have the same outcome."""
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
    """The real store, as one process reaches it."""

    def __init__(self, process: Process, store: SqlStore) -> None:
        self._process = process
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return partial(self._call, name, getattr(self._store, name))

    def _call(self, name: str, method: Callable[..., Any], *args: Any) -> Any:
        me, world = self._process, self._process.world
        world.pause(me)
        if world.clock() < world.away_until or world.happens(world.plan.refuse):
            raise StoreUnavailable("not now")
        if name == "write" and world.happens(world.plan.late):
            # Sent, and carried out when nobody waits for it any more.
            world.late.append((world.clock() + world.rng.expovariate(0.05), me, method, args))
            raise StoreUnavailable("no answer")
        try:
            result = world.transact(me, method, args)
        finally:
            world.observe(me)
        if name == "take_study":
            world.history.epochs[me.number] = result.epoch
        if world.happens(world.plan.unanswered):
            raise StoreUnavailable("no answer")
        world.pause(me)
        return result


class WatchedBackend:
    """The simulated workers of one process; may deliver what is none of its business."""

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
        stale = world.rng.choice(world.mail) if world.mail else None
        if stale and stale.run not in self._active and world.happens(world.plan.stale):
            events.insert(world.rng.randint(0, len(events)), spoilt(stale))
        self._active -= ended
        world.mail += [e for e in events if isinstance(e, Finished | Sent)]
        return events

    def stop(self, run: str, *, kill: bool = False) -> None:
        if not self._process.dead:
            self._workers.stop(run, kill=kill)

    def close(self) -> None:
        if self._process.dead:
            # Workers outlive the driver: what they find is delivered, if to nobody who wants it.
            with suppress(TunerError):
                self._process.world.mail += [
                    e for e in self._workers.events(0.0) if isinstance(e, Finished | Sent)
                ]
        self._workers.close()


def spoilt(stale: Event) -> Event:
    """Return an event that can be told apart if it should count."""
    if isinstance(stale, Finished) and stale.outcome.metrics:
        return Finished(stale.run, Outcome(State.COMPLETED, {"value": STALE}))
    return stale


class World:
    """Runs one sweep, driver after driver and side by side, until all is done and all have ended.

    Parameters
    ----------
    seed, plan
        What decides on everything that happens.
    stores
        As different processes would open them, on the same file.
    observer
        Sees that file.
    """

    def __init__(
        self, seed: int, plan: Plan, stores: Sequence[SqlStore], observer: Observer
    ) -> None:
        self.seed = seed
        self.plan = plan
        self.stores = stores
        self.rng = random.Random(seed)
        self.clock = VirtualClock()
        self.name = f"sweep {seed} {uuid7()}"
        self.history = History(
            plan.n_trials, steps=plan.steps, attempts_allowed=1 + 2 + plan.max_retries
        )
        self.away_until = 0.0
        self.late: list[tuple[float, Process, Callable[..., Any], tuple[Any, ...]]] = []
        self.mail: list[Any] = []
        self._observer = observer
        self._faults_left = plan.most_faults
        self._processes: list[Process] = []
        self._in_transaction: Process | None = None
        self.turns = 0

    def run(self) -> History:
        """Return what came of it."""
        self.observe(None)
        with statements(self._statement):
            while self._turn():
                self.turns += 1
                if self.turns > TURNS:
                    return self.history
            self.history.ended = True
            # The same call once more finds everything done.
            self._faults_left = 0
            last = self._begin()
            while not last.over:
                last.go_on()
        self.history.reports = self._observer.reports(self.name)
        return self.history

    def _turn(self) -> bool:
        """Let one driver go on to its next pause; return whether there is anything left to do."""
        self._carry_out_late()
        alive = [p for p in self._processes if not p.over]
        done = "finished" in self.history.ends.values()
        if not alive:
            if done and not self.late:
                return False
            if not done:
                self.clock.advance_to(self.clock() + self.rng.expovariate(1 / (1.5 * LEASE)))
                alive = [self._begin() for _ in range(2 if self._second_comes() else 1)]
            else:
                self.clock.advance_to(self.late[0][0])
                return True
        elif not done and len(alive) < 3 and self._second_comes():
            alive.append(self._begin())
        awake = [p for p in alive if p.frozen_until <= self.clock()]
        if not awake:
            wakes = min(p.frozen_until for p in alive)
            if not done and len(alive) < 3 and self.rng.random() < 0.5:
                # Somebody wonders why nothing happens, and calls again.
                self.clock.advance_to(self.rng.uniform(self.clock(), wakes))
                self._begin()
            else:
                self.clock.advance_to(wakes)
            return True
        self.rng.choice(awake).go_on()
        return True

    @property
    def happened(self) -> Counter[str]:
        """How drivers ended, and how many were killed."""
        killed = sum(process.dead for process in self._processes)
        return Counter(self.history.ends.values()) + Counter(killed=killed)

    def _second_comes(self) -> bool:
        return self.happens(self.plan.second_driver)

    def _begin(self) -> Process:
        self._processes.append(Process(len(self._processes), self))
        return self._processes[-1]

    def happens(self, probability: float) -> bool:
        """Whether a fault of that probability happens now; there is an end to them."""
        if not probability or self._faults_left <= 0 or self.rng.random() >= probability:
            return False
        self._faults_left -= 1
        return True

    def pause(self, process: Process) -> None:
        """Let others go on; the process may not come back from here, or much later."""
        if process.dead:
            raise Killed
        process.pauses += 1
        if self.happens(self.plan.outage):
            self.away_until = self.clock() + self.rng.expovariate(1 / LEASE)
        if self.happens(self.plan.freeze):
            process.frozen_until = self.clock() + self.rng.expovariate(1 / (2 * LEASE))
        getcurrent().parent.switch()
        if self._dies(process):
            process.dead = True
            raise Killed

    def _dies(self, process: Process) -> bool:
        if process.number == 0 and process.pauses == self.plan.kill_at:
            return True
        return self.happens(self.plan.kill)

    # --- the store ----------------------------------------------------------------------------

    def transact(self, process: Process, method: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Do what a process asks of its store; it may be killed between any two statements."""
        self._in_transaction = process
        try:
            result = method(*args)
            return list(result) if hasattr(result, "__next__") else result
        finally:
            self._in_transaction = None

    def _statement(self, *_: Any) -> None:
        process = self._in_transaction
        if process is not None:
            process.pauses += 1
            if self._dies(process):
                process.dead = True
                raise Killed

    def _carry_out_late(self) -> None:
        now = self.clock()
        due = [entry for entry in self.late if entry[0] <= now]
        self.late = sorted((e for e in self.late if e[0] > now), key=lambda e: e[0])
        for _, process, method, args in due:
            with suppress(TunerError):
                method(*args)
            self.observe(process)

    def observe(self, process: Process | None) -> None:
        """Note what is committed now, if it is anything new."""
        writer = -1 if process is None else process.number
        now = self._observer.look(self.name, writer)
        seen = self.history.snapshots
        last = seen[-1] if seen else None
        if last is None or (last.epoch, last.trials, last.runs) != (
            now.epoch,
            now.trials,
            now.runs,
        ):
            seen.append(now)


@contextmanager
def statements(hook: Callable[..., None]):
    """Call `hook` before each SQL statement of any store."""
    event.listen(Engine, "before_cursor_execute", hook)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", hook)
