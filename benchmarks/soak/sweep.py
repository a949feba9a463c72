"""One call of a sweep, which a user would repeat; the soak test runs it in a separate process.

python -m benchmarks.soak.sweep ADDRESS STORE STUDY N_TRIALS OPTIMIZER
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import tuner
from tuner.backends import RayBackend
from tuner.backends.ray import health as ray_guard


def objective(params: dict[str, Any], trial: Any) -> float:
    """Sleep, report and save checkpoints; the value depends only on the params."""
    epoch = 0
    if (saved := trial.restore()) is not None:
        epoch = json.loads((saved / "epoch").read_text())
    for step in range(epoch, 3):
        time.sleep(params["pause"])
        trial.report(float(step), step)
        if trial.number % 5 == 0:
            with trial.checkpoint() as folder:
                (folder / "epoch").write_text(json.dumps(step + 1))
    return value_of(params)


def value_of(params: dict[str, Any]) -> float:
    """Return the expected record of a trial with these params."""
    return float((params["x"] - 0.3) ** 2 + params["pause"])


def main() -> None:
    address, store, study, n_trials, optimizer = sys.argv[1:]
    # Frozen workers are detected as in production, but sooner.
    ray_guard.SILENCE, ray_guard.FROZEN, ray_guard.UNREACHABLE = 3.0, 1.0, 10.0
    tuner.optimize(
        objective,
        {"x": tuner.Float(0, 1), "pause": tuner.Float(0.01, 0.1)},
        n_trials=int(n_trials),
        optimizer=optimizer,
        backend=RayBackend(address),
        study=study,
        store=store,
        seed=0,
        register=False,
        progress=False,
    )


if __name__ == "__main__":
    main()
