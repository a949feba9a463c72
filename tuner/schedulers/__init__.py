"""Schedulers: they stop or pause trials. One file each; `resolve` finds them by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuner.plugins import Plugins

if TYPE_CHECKING:
    from tuner.schedulers.asha import ASHA
    from tuner.schedulers.halving import Hyperband, SuccessiveHalving
    from tuner.schedulers.median import MedianStopping
    from tuner.schedulers.protocol import Scheduler

__all__ = ["ASHA", "Hyperband", "MedianStopping", "SuccessiveHalving", "resolve"]

SCHEDULERS = Plugins(
    "scheduler",
    "tuner.schedulers",
    "tuner.schedulers.protocol:Scheduler",
    {
        "asha": "tuner.schedulers.asha:ASHA",
        "halving": "tuner.schedulers.halving:SuccessiveHalving",
        "hyperband": "tuner.schedulers.halving:Hyperband",
        "median": "tuner.schedulers.median:MedianStopping",
    },
)


def resolve(spec: str | Scheduler | None) -> Scheduler | None:
    """Return the scheduler named `spec`, or `spec` itself; None disables early stopping.

    Raises
    ------
    ArgumentError
        If the name is unknown, or `spec` is not a scheduler.
    """
    scheduler: Scheduler | None = None if spec is None else SCHEDULERS.resolve(spec)
    return scheduler


def __getattr__(name: str) -> Any:
    """Import a scheduler on first use."""
    return SCHEDULERS.load(__name__, name)
