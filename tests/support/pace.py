"""Duration of a call in seconds of a reference machine.

A bound in seconds fails on a machine that is slow or shared. So known work, of Python's and of
NumPy's, is timed beside the call: what slows one slows the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

ORDINARY = 0.0035
"""CPU seconds that the known work takes on the machine that the bounds were found on, idle."""


def seconds(call: Callable[[], object], attempts: int = 5) -> float:
    """CPU seconds that the quickest of `attempts` calls takes on an ordinary machine."""
    took, known = [], []
    for _ in range(attempts):
        known.append(_cpu_seconds(_known_work))
        took.append(_cpu_seconds(call))
    return min(took) / min(known) * ORDINARY


def _cpu_seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _known_work() -> None:
    counts = {}
    for number in range(20_000):
        counts[number % 1000] = counts.get(number % 1000, 0) + 1
    values = np.arange(100_000.0)
    for _ in range(3):
        values = np.exp(-np.sqrt(values))
