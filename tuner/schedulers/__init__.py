"""Which trials go on and which stop early. One scheduler a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuner.plugins import Plugins

if TYPE_CHECKING:
    from tuner.schedulers.asha import ASHA
    from tuner.schedulers.median import MedianStopping
    from tuner.schedulers.protocol import Scheduler

__all__ = ["ASHA", "MedianStopping", "resolve"]

SCHEDULERS = Plugins(
    "scheduler",
    "tuner.schedulers.protocol:Scheduler",
    {
        "asha": "tuner.schedulers.asha:ASHA",
        "median": "tuner.schedulers.median:MedianStopping",
    },
)


def resolve(spec: str | Scheduler | None) -> Scheduler | None:
    """Return the scheduler that `spec` names, or `spec` itself; None lets all trials run.

    Raises
    ------
    ArgumentError
        If there is no scheduler of that name, or `spec` is none.
    """
    scheduler: Scheduler | None = None if spec is None else SCHEDULERS.resolve(spec)
    return scheduler


def __getattr__(name: str) -> Any:
    """Import a scheduler when it is first used."""
    return SCHEDULERS.load(__name__, name)
