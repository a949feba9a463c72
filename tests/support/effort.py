"""Sizes of tests: a part of all cases in ``make test``, and every case in ``make soak``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import settings

THOROUGH = 100
"""Examples of a Hypothesis test in ``make soak``, unless the test names a number."""

QUICK = 20
"""Examples of the same test in ``make test``."""


def examples(n: int) -> int:
    """Return the number of examples for a test that has `n` in ``make soak``, at least 2."""
    return max(2, n * settings().max_examples // THOROUGH)


def each_once(*axes: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
    """Return the combinations of the values of several parameters, for ``parametrize``.

    Each value of each parameter is in at least one combination of ``make test``; the other
    combinations have the mark `soak`. The keys of a mapping name its values in the test's id.
    """
    named = [
        list(axis.items()) if isinstance(axis, Mapping) else [(str(value), value) for value in axis]
        for axis in axes
    ]
    kept = {tuple(k % len(axis) for axis in named) for k in range(max(map(len, named)))}
    cases = []
    for place in product(*(range(len(axis)) for axis in named)):
        names, values = zip(*(axis[k] for axis, k in zip(named, place, strict=True)), strict=True)
        marks = [] if place in kept else [pytest.mark.soak]
        cases.append(pytest.param(*values, id="-".join(names), marks=marks))
    return cases
