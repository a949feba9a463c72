"""Resources of a trial and of this machine, and the number of trials that fit on nodes.

A worker process gets its share of this machine by environment variables.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tuner.errors import ResourcesError

_RAY_NAMES = {"cpu": "CPU", "gpu": "GPU"}


def local_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def local_nodes() -> list[dict[str, float]]:
    """Return the known resources of a local Ray cluster; only Ray itself can detect GPUs."""
    return [{"CPU": float(local_cpus()), "GPU": math.inf, "memory": math.inf}]


def as_needs(resources: Mapping[str, float] | None) -> dict[str, float]:
    """Return the resources of one trial under Ray's names; the default is one CPU.

    Raises
    ------
    ResourcesError
        If an amount is negative or not a number, or a GPU amount above 1 is fractional.

    Examples
    --------
    >>> as_needs({"cpu": 0.5, "gpu": 1})
    {'CPU': 0.5, 'GPU': 1.0}
    """
    needs = {"CPU": 1.0}
    for name, amount in (resources or {}).items():
        number = isinstance(amount, int | float) and not isinstance(amount, bool)
        if not number or not math.isfinite(amount) or amount < 0:
            raise ResourcesError(
                f"resources={dict(resources or {})!r}: {name!r} is {amount!r}; write a number "
                f"from 0 up, such as {{{name!r}: 1}}"
            )
        needs[_RAY_NAMES.get(name, name)] = float(amount)
    gpus = needs.get("GPU", 0.0)
    if gpus > 1 and not gpus.is_integer():
        raise ResourcesError(
            f"resources={dict(resources or {})!r}: 'gpu' is {gpus:g}; several GPUs come whole, so "
            f"write {{'gpu': {math.ceil(gpus)}}}, or less than 1 to share one"
        )
    return needs


def fitting_workers(
    workers: int | None, needs: Mapping[str, float], nodes: Sequence[Mapping[str, float]]
) -> int:
    """Return the number of workers to start: `workers`, or as many as fit.

    A worker runs on one node: two nodes with two CPUs each cannot host a worker with four.

    Parameters
    ----------
    workers
        Requested number, at least 1; None for all that fit.
    needs
        Resources of each worker, under Ray's names.
    nodes
        Total resources of each node, under Ray's names.

    Raises
    ------
    ResourcesError
        If none fits, or fewer than requested; the message names both amounts.

    Examples
    --------
    >>> fitting_workers(None, {"CPU": 2.0}, [{"CPU": 5.0}, {"CPU": 3.0}])
    3
    """
    if workers is not None and workers < 1:
        raise ResourcesError(f"workers={workers}: write at least 1")
    fit = sum(_fit_on(needs, node) for node in nodes)
    asked = ", ".join(f"{amount:g} {name}" for name, amount in needs.items())
    if fit == 0:
        raise ResourcesError(
            f"a trial needs {asked}, and no node has that: {_available(needs, nodes)}; ask for "
            f"less with resources={{...}}, or add a node"
        )
    if workers is None:
        return int(fit) if math.isfinite(fit) else local_cpus()
    if workers > fit:
        raise ResourcesError(
            f"workers={workers} with {asked} each do not fit: {_available(needs, nodes)}; write "
            f"workers={int(fit)} or less, or resources={{'cpu': ...}} with less than 1"
        )
    return workers


def _fit_on(needs: Mapping[str, float], node: Mapping[str, float]) -> float:
    """Return how many workers fit on one node, with a tolerance for inexact fractions."""
    counts = [node.get(name, 0.0) / amount + 1e-9 for name, amount in needs.items() if amount > 0]
    smallest = min(counts, default=math.inf)
    return smallest if math.isinf(smallest) else math.floor(smallest)


def _available(needs: Mapping[str, float], nodes: Sequence[Mapping[str, float]]) -> str:
    having = [node for node in nodes if any(node.get(name) for name in needs)] or nodes
    parts = [" and ".join(f"{node.get(name, 0.0):g} {name}" for name in needs) for node in having]
    if len(parts) > 3:
        parts = [*parts[:3], f"{len(parts) - 3} more nodes"]
    return f"there is {'; '.join(parts) or 'no node'}"


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
