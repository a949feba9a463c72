"""Inject faults into sweeps on a real three-node Ray cluster, and check their records.

    python -m benchmarks.soak [--kills 200] [--seed 0] [--trials 60]

Each sweep is one call, repeated after each death of its driver until it returns. Workers, raylets
and the driver are killed or frozen at random times. After each fault, the store is compared with
all its earlier contents. At the end of a sweep, every trial must have one correct outcome, and no
trial may be running. The exit status is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from random import Random

from benchmarks.soak.faults import Fault, faults
from benchmarks.soak.machine_room import Driver, MachineRoom, machine_room, strike
from benchmarks.soak.record import Record

PATIENCE = 300.0
"""Maximum duration of a sweep after its last fault, in seconds."""

FAULTS_A_SWEEP = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--trials", type=int, default=60, help="in each sweep")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.monotonic()
    hits, starts, done, violations = soak(arguments.kills, arguments.trials, arguments.seed)
    print(f"\n{'fault':<20}{'times':>8}")
    for fault, times in sorted(hits.items()):
        print(f"{fault:<20}{times:>8}")
    print(f"\n{done} trials, {starts} calls, {len(violations)} violations")
    for violation in violations:
        print(violation)
    figures = {
        "benchmark": "soak",
        "kills": sum(hits.values()),
        "faults": dict(sorted(hits.items())),
        "trials": done,
        "calls": starts,
        "violations": len(violations),
        "seconds": round(time.monotonic() - began),
        "seed": arguments.seed,
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("tuner", "ray")},
    }
    print(json.dumps(figures))
    return 1 if violations else 0


def soak(kills: int, trials: int, seed: int = 0) -> tuple[Counter[str], int, int, list[str]]:
    """Run sweeps until `kills` faults have happened.

    Returns
    -------
    tuple
        The counts of each fault, of calls, and of trials with an outcome, and the violations.
    """
    random = Random(seed)
    hits: Counter[str] = Counter()
    starts, done, sweep = 0, 0, 0
    violations: list[str] = []
    with tempfile.TemporaryDirectory() as folder, machine_room() as room:
        while sum(hits.values()) < kills:
            sweep += 1
            number = min(FAULTS_A_SWEEP, kills - sum(hits.values()))
            optimizer = random.choice(["random", "tpe"])
            store, study = Path(folder, str(sweep)), f"sweep-{sweep}"
            driver = Driver([room.address, str(store), study, str(trials), optimizer])
            record = Record(store, study, trials)
            try:
                for fault in run_sweep(driver, record, room, random, faults(random, number)):
                    hits[str(fault)] += 1
            finally:
                driver.end()
            record.conclude()
            starts += driver.starts
            done += record.done
            violations += record.violations
            print(
                f"sweep {sweep}: {sum(hits.values())} faults, {driver.starts} calls, "
                f"{len(violations)} violations",
                file=sys.stderr,
            )
    return hits, starts, done, violations


def run_sweep(
    driver: Driver, record: Record, room: MachineRoom, random: Random, coming: Iterator[Fault]
) -> Iterator[Fault]:
    """Repeat the call until it returns; yield the injected faults."""
    deadline = time.monotonic() + PATIENCE
    fault = next(coming, None)
    due = time.monotonic() + random.uniform(0.5, 4.0)
    while not driver.has_returned():
        if time.monotonic() > deadline:
            record.violations.append(f"stuck for {PATIENCE:g} s with {record.done} trials done")
            return
        if not driver.is_running():
            if failure := driver.failure():
                record.violations.append(f"the call failed: {failure}")
                return
            record.look()
            driver.restart()
        if fault is not None and time.monotonic() > due and strike(fault, random, driver, room):
            record.look()
            room.mend()
            yield fault
            fault = next(coming, None)
            due = time.monotonic() + random.uniform(0.1, 2.0)
            deadline = time.monotonic() + PATIENCE
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
