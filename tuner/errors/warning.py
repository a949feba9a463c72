"""Warnings to the user, which name the line of the user's call."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from tuner.errors.credentials import hide


class TunerWarning(UserWarning):
    """A call that did its work, but not all of it."""


_OURS = str(Path(__file__).parent.parent)


def warn(message: str) -> None:
    """Emit a `TunerWarning` that names the line outside of `tuner` that led here."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        level, frame = level + 1, frame.f_back
    warnings.warn(hide(message), TunerWarning, stacklevel=level)
