"""Shared code of the storage tests: objectives that log artifacts, and small disks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner import Float, State


def search(
    store: Any,
    objective: Callable[..., Any],
    n_trials: int = 20,
    backend: Any = "serial",
    **options: Any,
) -> tuner.Study:
    """Run a study called "kept", or go on with it."""
    return tuner.optimize(
        objective,
        {"x": Float(0, 1)},
        n_trials=n_trials,
        backend=backend,
        store=store,
        **{"optimizer": "random", "study": "kept", "register": False, "progress": False} | options,
    )


def check_complete(study: tuner.Study, n_trials: int) -> None:
    """Assert that each trial completed at its first attempt, and has its artifact."""
    assert {t.number: t.state for t in study} == dict.fromkeys(range(n_trials), State.COMPLETED)
    assert {t.attempts for t in study} == {1}, "nothing ran twice"
    check_artifacts(study)


def check_artifacts(study: tuner.Study) -> None:
    """Assert that each completed trial has the artifact that it kept, whole."""
    runs = {r.uid: r for r in study.runs()}
    every = study.store.artifacts(study._info.uid)
    kept = {runs[a.run].trial: a for a in every if a.name == "kept"}
    for trial in study:
        if trial.state is State.COMPLETED:
            files = study.store.read_artifact(kept[trial.number])
            assert int(next(iter(files.values()))[:8]) == trial.number


def keep(trial: Any, folder: Path, size: int = 8) -> None:
    """Log an artifact that contains the trial's number."""
    path = folder / f"kept-{trial.number}-{trial.attempt}"
    path.write_bytes(f"{trial.number:08}".encode() + b"." * (size - 8))
    trial.log_artifact(path, "kept")


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Give a small file system that really becomes full."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a file system of its own size")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
