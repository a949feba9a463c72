"""Measure the memory of workers whose objective captures a large array, shared and copied.

    python -m benchmarks.shared_arrays [--quick]

Two workers evaluate an objective that reads an array of 480 MB. Each reports its proportional set
size (PSS): its private memory, and its part of the memory that processes share. "copied" raises the
size from which arrays are shared, so that each worker unpickles a copy. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import tuner
from tuner.backends import shipping

WORKERS = 2
NEVER = 2**62


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="48 MB instead of 480 MB")
    array = np.random.default_rng(0).random(6_000_000 if parser.parse_args().quick else 60_000_000)
    megabytes = {
        f"{backend}, {how}": measure(backend, how == "copied", array)
        for backend in ("processes", "ray")
        for how in ("copied", "shared")
    }
    print(f"{'PSS of a worker':<24}{'MB':>8}{'of copied':>12}")
    for name, size in megabytes.items():
        copied = megabytes[f"{name.partition(',')[0]}, copied"]
        print(f"{name:<24}{size:>8.0f}{size / copied:>12.2f}")
    figures = {
        "benchmark": "shared_arrays",
        "array_mb": round(array.nbytes / 1e6),
        "workers": WORKERS,
        "pss_mb": {name: round(size) for name, size in megabytes.items()},
    }
    print(json.dumps(figures))


def measure(backend: str, copied: bool, array: np.ndarray) -> float:
    """Return the largest PSS of a worker in megabytes."""
    size = NEVER if copied else shipping.SHARED_FROM
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(shipping, "SHARED_FROM", size),
    ):
        study = tuner.optimize(
            reader_of(array, Path(folder)),
            {"x": tuner.Float(0, 1)},
            metric="pss",
            n_trials=2 * WORKERS,
            optimizer="random",
            backend=backend,
            workers=WORKERS,
            store=folder,
            register=False,
            progress=False,
        )
        return max(trial.value for trial in study if trial.value is not None)


def reader_of(array: np.ndarray, folder: Path) -> Callable[[dict[str, Any]], dict[str, float]]:
    """Return an objective that waits until all workers have read the array."""

    def objective(_params: dict[str, Any]) -> dict[str, float]:
        total = float(array.sum())
        (folder / f"read-{os.getpid()}").touch()
        while len(list(folder.glob("read-*"))) < WORKERS:
            time.sleep(0.02)
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return {"pss": kilobytes * 1024 / 1e6, "total": total}

    return objective


if __name__ == "__main__":
    main()
