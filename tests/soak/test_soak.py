"""A few faults of ``make soak``, and a check that its judge detects defects."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import tuner
from benchmarks.soak.__main__ import soak
from benchmarks.soak.faults import descendants_of
from benchmarks.soak.record import Record
from benchmarks.soak.sweep import value_of


@pytest.mark.ray
@pytest.mark.slow
def test_the_record_is_correct_and_no_process_is_left_after_faults() -> None:
    before = descendants_of(os.getpid())
    hits, calls, done, violations = soak(kills=2, trials=20, seed=3)
    assert violations == []
    assert sum(hits.values()) == 2
    assert calls >= 1
    assert done % 20 == 0
    assert descendants_of(os.getpid()) <= before


STARTS_MORE = """
import ctypes, os, subprocess, time
from benchmarks.soak.faults import descendants_of
from benchmarks.soak.machine_room import PR_SET_CHILD_SUBREAPER, end_all_but

ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
spared = subprocess.Popen(["sleep", "60"])
before = descendants_of(os.getpid())
for _ in range(3):
    subprocess.Popen(["sh", "-c", "for i in $(seq 500); do sleep 60 & sleep 0.003; done"])
time.sleep(0.3)
started = len(descendants_of(os.getpid()) - before)
end_all_but(before)
print(started > 3, descendants_of(os.getpid()) == before == {spared.pid})
spared.kill()
"""


@pytest.mark.process
def test_a_process_that_starts_during_cleanup_is_ended_too() -> None:
    # In a separate process: a Ray cluster of other tests starts workers at any time.
    done = subprocess.run(
        [sys.executable, "-c", STARTS_MORE], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["True", "True"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return the store of a sweep that is as it should be."""
    tuner.optimize(
        value_of,
        {"x": tuner.Float(0, 1), "pause": tuner.Float(0.01, 0.1)},
        n_trials=5,
        backend="serial",
        optimizer="random",
        study="sweep",
        store=tmp_path / "store",
        register=False,
        progress=False,
    )
    return tmp_path / "store"


def judged(store: Path, tampering: str = "", n_trials: int = 5) -> Counter[str]:
    """Return the violations that are found when the store is changed after a first look."""
    record = Record(store, "sweep", n_trials)
    record.look()
    with sqlite3.connect(store / "tuner.db") as database:
        database.executescript(tampering)
    record.conclude()
    return Counter(violation.removeprefix("sweep: ") for violation in record.violations)


def test_a_correct_record_passes_the_check(store: Path) -> None:
    assert not judged(store)


@pytest.mark.parametrize(
    ("tampering", "says"),
    [
        ("UPDATE trials SET \"values\" = '[7.5]' WHERE number = 2", "trial 2 has 7.5, not"),
        ("UPDATE trials SET ended = ended + 1 WHERE number = 2", "trial 2 was lost or changed"),
        ("UPDATE trials SET state = 'running' WHERE number = 3", "trial 3 was lost or changed"),
        ("UPDATE trials SET state = 'running' WHERE number = 3", "trial 3 is left running"),
        ("UPDATE runs SET state = 'running' WHERE attempt = 1", "is left running"),
        ("UPDATE runs SET trial = 0, attempt = 2 WHERE trial = 1", "trial 0 was counted 2 times"),
        ("UPDATE runs SET trial = 0 WHERE trial = 1", "trial 0 has 2 runs of attempt 1"),
    ],
)
def test_each_defect_of_a_record_is_found(store: Path, tampering: str, says: str) -> None:
    assert any(says in violation for violation in judged(store, tampering))


@pytest.mark.parametrize("n_trials", [4, 6])
def test_a_wrong_number_of_trials_is_found(store: Path, n_trials: int) -> None:
    assert any("the trials are" in violation for violation in judged(store, n_trials=n_trials))
