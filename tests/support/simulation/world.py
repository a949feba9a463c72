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
from typing import Any

from greenlet import getcurrent
from sqlalchemy import Engine, event

from support.simulation.history import History, Observer
from support.simulation.plan import Plan
from support.simulation.process import LEASE, Killed, Process
from tuner.backends.simulated.clock import VirtualClock
from tuner.errors import TunerError
from tuner.tracking.store import Store
from tuner.tracking.uuid7 import uuid7

TURNS = 10_000
"""Turns of drivers after which a sweep counts as one that never ends; most take some hundreds."""


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
