"""Deprecated alias of `tuner.Study.keep_models`."""

from __future__ import annotations

import warnings
from typing import Any


def keep_best(study: Any, k: int) -> int:
    """Forget the models of all trials but the `k` best; deprecated, use `Study.keep_models`."""
    warnings.warn(
        "tuner.retention.keep_best is deprecated; write study.keep_models(k)",
        DeprecationWarning,
        stacklevel=2,
    )
    forgotten: int = study.keep_models(k)
    return forgotten
