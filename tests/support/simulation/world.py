"""A simulated world that kills, freezes and disconnects drivers, on one thread.

Each driver is a greenlet that runs the real `Driver` on a real SQLite file. Each access to the
store or the workers calls `World.pause`, which may kill the driver, freeze it for longer than its
lease, or switch to another driver. One seed determines all random decisions.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from greenlet import getcurrent
from sqlalchemy import Engine, event

from support.simulation.history import History, Observer
from support.simulation.plan import Plan
from support.simulation.process import LEASE, Killed, Process
from tuner.backends.simulated.model import VirtualClock
from tuner.errors import TunerError
from tuner.tracking.store import Store
from tuner.tracking.uuid7 import uuid7

TURNS = 10_000
"""Turns after which a sweep counts as endless; most take some hundreds."""


class World:
    """Runs one sweep, with successive and concurrent drivers, until all have ended.

    Parameters
    ----------
    seed, plan
        Determine all events.
    stores
        Stores on the same file, as different processes would open them.
    observer
        Reads that file.
    """

    def __init__(self, seed: int, plan: Plan, stores: Sequence[Store], observer: Observer) -> None:
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
        self.sent: list[Any] = []
        self._observer = observer
        self._faults_left = plan.most_faults
        self._processes: list[Process] = []
        self._in_transaction: Process | None = None
        self.turns = 0

    def run(self) -> History:
        """Run the sweep, and return its history."""
        self.observe(None)
        with statements(self._statement):
            while self._turn():
                self.turns += 1
                if self.turns > TURNS:
                    return self.history
            self.history.ended = True
            # Repeating the call finds all trials finished.
            self._faults_left = 0
            last = self._begin()
            while not last.over:
                last.resume()
        self.history.reports = self._observer.reports(self.name)
        return self.history

    def _turn(self) -> bool:
        """Resume one driver until its next pause; return whether the sweep continues."""
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
                # A user starts another driver meanwhile.
                self.clock.advance_to(self.rng.uniform(self.clock(), wakes))
                self._begin()
            else:
                self.clock.advance_to(wakes)
            return True
        self.rng.choice(awake).resume()
        return True

    @property
    def happened(self) -> Counter[str]:
        """Counts of the ends of drivers."""
        killed = sum(process.dead for process in self._processes)
        return Counter(self.history.ends.values()) + Counter(killed=killed)

    def _second_comes(self) -> bool:
        return self.happens(self.plan.second_driver)

    def _begin(self) -> Process:
        self._processes.append(Process(len(self._processes), self))
        return self._processes[-1]

    def happens(self, probability: float) -> bool:
        """Return whether a fault of that probability happens now; their number is limited."""
        if not probability or self._faults_left <= 0 or self.rng.random() >= probability:
            return False
        self._faults_left -= 1
        return True

    def pause(self, process: Process) -> None:
        """Switch to other drivers; the process may be killed or frozen here."""
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
        """Execute a call of a process to its store; it may be killed between two statements."""
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
        """Record the committed state if it changed."""
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
