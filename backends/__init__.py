"""Backends run trials: on the caller's thread, on processes, on Ray, or in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuner.plugins import Plugins

if TYPE_CHECKING:
    from tuner.backends.processes.pool import ProcessBackend
    from tuner.backends.protocol import Backend
    from tuner.backends.ray.pool import RayBackend
    from tuner.backends.serial import SerialBackend
    from tuner.backends.simulated.backend import SimulatedBackend
    from tuner.backends.simulated.model import Faults, lognormal

__all__ = [
    "Faults",
    "ProcessBackend",
    "RayBackend",
    "SerialBackend",
    "SimulatedBackend",
    "lognormal",
    "resolve",
]

BACKENDS = Plugins(
    "backend",
    "tuner.backends",
    "tuner.backends.protocol:Backend",
    {
        "ray": "tuner.backends.ray.pool:RayBackend",
        "serial": "tuner.backends.serial:SerialBackend",
        "processes": "tuner.backends.processes.pool:ProcessBackend",
    },
    (
        "tuner.backends.simulated.backend:SimulatedBackend",
        "tuner.backends.simulated.model:Faults",
        "tuner.backends.simulated.model:lognormal",
    ),
)


def resolve(spec: str | Backend | None) -> Backend:
    """Return the backend that `spec` names, or `spec` itself; None is Ray.

    Raises
    ------
    ArgumentError
        If the name is unknown, or `spec` is not a backend.
    """
    backend: Backend = BACKENDS.resolve("ray" if spec is None else spec)
    return backend


def __getattr__(name: str) -> Any:
    """Import a backend on first use."""
    return BACKENDS.load(__name__, name)
