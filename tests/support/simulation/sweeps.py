"""Run sweeps by seed, in one process per core.

PYTHONPATH=tests python -m support.simulation.sweeps 123     # one seed, with all commits
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from support.simulation.checker import violations
from support.simulation.history import History, Observer
from support.simulation.plan import Plan
from support.simulation.world import World
from tuner.records import Environment
from tuner.tracking.database.location import locate
from tuner.tracking.sql_store import SqlStore

BLOCK = 50
"""Sweeps per database; large databases are slow to inspect."""


class SweepDatabase:
    """A database for many sweeps, each one study, opened by three stores."""

    def __init__(self, folder: Path) -> None:
        self._world: World | None = None
        self.stores = [SqlStore(locate(folder), clock=self._time) for _ in range(3)]
        self.stores[0].put_environment(Environment("3", "simulated"))
        self._observer = Observer(folder / "tuner.db")

    def _time(self) -> float:
        assert self._world is not None
        return self._world.clock()

    def play(self, seed: int, plan: Plan | None = None) -> tuple[World, History]:
        """Run the sweep of a seed."""
        self._world = World(seed, plan or Plan.of(seed), self.stores, self._observer)
        return self._world, self._world.run()

    def close(self) -> None:
        self._observer.close()
        for store in self.stores:
            store.close()


@contextmanager
def sweep_database() -> Iterator[SweepDatabase]:
    """Yield a database in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        opened = SweepDatabase(Path(folder))
        try:
            yield opened
        finally:
            opened.close()


def check_sweeps(seeds: Sequence[int]) -> tuple[dict[int, list[str]], Counter[str]]:
    """Return the violations by seed, and the counts of how drivers ended."""
    wrong: dict[int, list[str]] = {}
    happened: Counter[str] = Counter()
    with sweep_database() as sweeps:
        for seed in seeds:
            world, history = sweeps.play(seed)
            happened += world.happened
            if found := violations(history):
                wrong[seed] = found
    return wrong, happened


def check_all(seeds: range) -> tuple[dict[int, list[str]], Counter[str]]:
    """Run `check_sweeps` on all cores."""
    blocks = [seeds[i : i + BLOCK] for i in range(0, len(seeds), BLOCK)]
    wrong: dict[int, list[str]] = {}
    happened: Counter[str] = Counter()
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawning) as pool:
        for bad, counts in pool.map(check_sweeps, blocks):
            wrong |= bad
            happened += counts
    return wrong, happened


def failure_report(wrong: dict[int, list[str]]) -> str:
    """Return the message of a failing test."""
    return "\n".join(
        f"seed {seed}: {found[0]}\n"
        f"  all of it: PYTHONPATH=tests python -m support.simulation.sweeps {seed}"
        for seed, found in wrong.items()
    )


def main() -> None:
    seed = int(sys.argv[1])
    with sweep_database() as sweeps:
        print(Plan.of(seed))
        _, history = sweeps.play(seed)
    for i, snapshot in enumerate(history.snapshots):
        print(f"\n{i}: driver {snapshot.writer} wrote, epoch {snapshot.epoch}")
        for row in (*snapshot.trials.values(), *snapshot.runs.values()):
            print("   ", row)
        print(*(f"    then: {job}" for job in history.submitted if job.after == i + 1), sep="\n")
    print("\nepochs of drivers:", history.epochs)
    print("drivers ended:", history.ends)
    print("\n".join(violations(history)) or "nothing is wrong")


if __name__ == "__main__":
    main()
