"""The Ray cluster that workers run on: found or started, and what fits on it."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tuner.errors import BackendError, ResourcesError

OBJECT_STORE = 256 * 2**20
"""Bytes of shared memory of a local Ray: jobs and outcomes are small."""

_RAY_NAMES = {"cpu": "CPU", "gpu": "GPU"}


@dataclass(slots=True)
class Cluster:
    """A Ray that this process is connected to; `own` is whether to leave it at the end."""

    own: bool

    def nodes(self) -> list[dict[str, float]]:
        """Return the resources of each living node, by Ray's names."""
        import ray

        return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]

    def leave(self) -> None:
        """End the Ray that was started for this study; leave alone one that was there."""
        import ray

        if self.own and ray.is_initialized():
            with _quiet():
                ray.shutdown()
        self.own = False


def connect(address: str | None) -> Cluster:
    """Return the Ray of this process, of `address` or ``RAY_ADDRESS``, or else a new local one.

    Raises
    ------
    BackendError
        If Ray does not start, or nothing answers at the address.
    """
    import ray

    if ray.is_initialized():
        return Cluster(own=False)
    local = will_be_local(address)
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"address": address}
    if local:
        # A bare ray.init() would follow the address file of whatever cluster ran here last.
        options |= {
            "num_cpus": local_cpus(),
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE,
        }
    try:
        with _quiet():
            ray.init(
                **options,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except Exception as error:
        # Ray raises ConnectionError, RuntimeError, ValueError, ...: all mean that there is none.
        where = "on this machine" if local else f"at {address}"
        raise BackendError(
            f"Ray cannot be started or reached {where}: {error}; check the address, or write "
            f'backend="serial"'
        ) from error
    return Cluster(own=True)


def will_be_local(address: str | None) -> bool:
    """Whether `connect` would start a Ray of its own."""
    return (address or os.environ.get("RAY_ADDRESS") or "local") == "local"


def local_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def local_nodes() -> list[dict[str, float]]:
    """Return what a Ray started here would have for sure: its GPUs are only known to itself."""
    return [{"CPU": float(local_cpus()), "GPU": math.inf, "memory": math.inf}]


def as_ray_resources(resources: Mapping[str, float] | None) -> dict[str, float]:
    """Return what one job needs, by Ray's names; one CPU if nothing is said.

    Raises
    ------
    ResourcesError
        If an amount is negative or no number.
    """
    needs = {"CPU": 1.0}
    for name, amount in (resources or {}).items():
        number = isinstance(amount, int | float) and not isinstance(amount, bool)
        if not number or not math.isfinite(amount) or amount < 0:
            raise ResourcesError(
                f"resources={dict(resources or {})!r}: {name!r} must be a number from 0"
            )
        needs[_RAY_NAMES.get(name, name)] = float(amount)
    return needs


def fitting_workers(
    workers: int | None, needs: Mapping[str, float], nodes: Sequence[Mapping[str, float]]
) -> int:
    """Return how many workers to start: `workers`, or as many as fit.

    Raises
    ------
    ResourcesError
        If not even one fits, or not that many; says what is there and what was asked.
    """
    fit = sum(_fit_on(needs, node) for node in nodes)
    asked = ", ".join(f"{amount:g} {name}" for name, amount in needs.items())
    if fit == 0:
        raise ResourcesError(
            f"a trial needs {asked}, and no node has that: {_there(needs, nodes)}; ask for less "
            f"with resources={{...}}, or add a node"
        )
    if workers is None:
        return int(fit) if math.isfinite(fit) else local_cpus()
    if workers > fit:
        raise ResourcesError(
            f"workers={workers} with {asked} each do not fit: {_there(needs, nodes)}; write "
            f"workers={int(fit)} or less, or resources={{'cpu': ...}} with less than 1"
        )
    return workers


def _fit_on(needs: Mapping[str, float], node: Mapping[str, float]) -> float:
    """Return how many workers one node holds; a hair more, as fractions add up inexactly."""
    counts = [node.get(name, 0.0) / amount + 1e-9 for name, amount in needs.items() if amount > 0]
    smallest = min(counts, default=math.inf)
    return smallest if math.isinf(smallest) else math.floor(smallest)


def _there(needs: Mapping[str, float], nodes: Sequence[Mapping[str, float]]) -> str:
    parts = [" and ".join(f"{node.get(name, 0.0):g} {name}" for name in needs) for node in nodes]
    if len(parts) > 3:
        parts = [*parts[:3], f"{len(parts) - 3} more nodes"]
    return f"there is {'; '.join(parts) or 'no node'}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Start Ray without telemetry and banners, its workers as fast as everyone else."""
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "RAY_DEDUP_LOGS": "0",
    }
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    before = {name: os.environ.get(name) for name in settings}
    os.environ |= {name: value for name, value in settings.items() if before[name] is None}
    try:
        yield
    finally:
        logger.setLevel(max(level, logging.ERROR))
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
