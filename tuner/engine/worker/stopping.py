"""Exceptions by which an objective stops its trial early."""

from __future__ import annotations

import sys
from typing import Any

from tuner.errors import TrialStopped

_LINKS: list[Any] = [BaseException.__dict__[name] for name in ("__cause__", "__context__")]

_DEEPEST = 100
"""Number of chained exceptions that are looked at."""


def is_stop(error: BaseException) -> bool:
    """Return whether an exception is `TrialStopped`, or follows from it.

    A training library may wrap the exception of a callback in one of its own. Optuna's
    `TrialPruned` means the same.
    """
    stops: tuple[type[BaseException], ...] = (TrialStopped,)
    pruned = getattr(sys.modules.get("optuna"), "TrialPruned", None)
    if isinstance(pruned, type):
        stops = (TrialStopped, pruned)
    found = [error]
    for each in found:
        if issubclass(type(each), stops):
            return True
        # As they are stored, past an override in the exception's type.
        links = (link.__get__(each) for link in _LINKS)
        found += [link for link in links if link is not None and len(found) < _DEEPEST]
    return False
