"""Warnings about calls that do less than they were asked to."""

from __future__ import annotations

import sys
import warnings

from tuner.errors import TunerWarning
from tuner.errors.credentials import hide

PACKAGE = __name__.partition(".")[0]


def warn(message: str) -> None:
    """Issue a `TunerWarning` that names the line which called tuner."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(hide(message), TunerWarning, stacklevel=level)


def _is_ours(module: str) -> bool:
    return module == PACKAGE or module.startswith(f"{PACKAGE}.")
