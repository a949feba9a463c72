"""The resources of this machine, and the environment variables that give a worker its share."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

from tuner.backends.resources import local_cpus

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"

THREADS = "OMP_NUM_THREADS"
"""Number of threads of NumPy's and scikit-learn's native code."""


def local_machine(needs: Mapping[str, float]) -> dict[str, float]:
    """Return the resources of this machine under Ray's names, as trials with `needs` can use them.

    A trial that needs a fraction of a GPU shares one GPU; it does not use the rests of several.
    """
    import psutil

    share = needs.get("GPU", 0.0)
    per_gpu = _sharing(share) * share if 0 < share < 1 else 1.0
    return {
        "CPU": float(local_cpus()),
        "GPU": len(visible_gpus()) * per_gpu,
        "memory": float(psutil.virtual_memory().total),
    }


def visible_gpus() -> list[str]:
    """Return the NVIDIA GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    named = os.environ.get(VISIBLE_GPUS)
    if named is not None:
        names = [name.strip() for name in named.split(",")]
        return [name for name in names if name and name != "-1"]
    devices = (path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia*"))
    return [str(number) for number in range(sum(name.isdigit() for name in devices))]


def worker_variables(needs: Mapping[str, float], slot: int) -> dict[str, str]:
    """Return the variables of the worker in place `slot` (from 0) of a pool.

    They limit the threads of numeric libraries to the CPUs of a trial, unless the user has set a
    limit, and give each worker its GPUs.
    """
    variables = {}
    if THREADS not in os.environ:
        variables[THREADS] = str(max(1, int(needs["CPU"])))
    share = needs.get("GPU", 0.0)
    if share:
        gpus = visible_gpus()
        first = slot // _sharing(share) if share < 1 else slot * int(share)
        variables[VISIBLE_GPUS] = ",".join(gpus[first : first + math.ceil(share)])
    return variables


def _sharing(share: float) -> int:
    """Return how many trials that need `share` of a GPU, less than 1, use one GPU."""
    return int(1 / share + 1e-9)
