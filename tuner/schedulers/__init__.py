"""Which trials go on and which stop early. One scheduler a file."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError

if TYPE_CHECKING:
    from tuner.schedulers.asha import ASHA
    from tuner.schedulers.median import MedianStopping
    from tuner.schedulers.protocol import Scheduler

__all__ = ["ASHA", "MedianStopping", "resolve"]

_NAMES = {"asha": "ASHA", "median": "MedianStopping"}
_MODULES = {"ASHA": "tuner.schedulers.asha", "MedianStopping": "tuner.schedulers.median"}


def resolve(spec: str | Scheduler | None) -> Scheduler | None:
    """Return the scheduler that `spec` names, or `spec` itself; None lets all trials run.

    Raises
    ------
    ArgumentError
        If there is no scheduler of that name, or `spec` is none.
    """
    from tuner.schedulers.protocol import Scheduler

    if spec is None:
        return None
    if isinstance(spec, str):
        if spec not in _NAMES:
            close = difflib.get_close_matches(spec, _NAMES, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"choose {' or '.join(_NAMES)}"
            raise ArgumentError(f"scheduler={spec!r}: there is no such scheduler; {hint}")
        made: Scheduler = __getattr__(_NAMES[spec])()
        return made
    if isinstance(spec, type) or not isinstance(spec, Scheduler):
        raise ArgumentError(
            f"scheduler={spec!r}: write {' or '.join(map(repr, _NAMES))}, or an object with the "
            f"methods of tuner.schedulers.protocol.Scheduler"
        )
    return spec


def __getattr__(name: str) -> Any:
    """Import a scheduler when it is first used."""
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
