"""Outcome constraints as text, such as ``"latency <= 0.1"``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import suppress

from tuner.errors import ArgumentError
from tuner.records import OutcomeConstraint
from tuner.records.bounds import as_name

_CONSTRAINT = re.compile(r"\s*(.+?)\s*(<=|>=)\s*(\S+)\s*")


def as_constraints(constraints: Sequence[str | OutcomeConstraint]) -> tuple[OutcomeConstraint, ...]:
    """Parse outcome constraints such as ``"latency <= 0.1"``.

    Raises
    ------
    ArgumentError
        If a constraint is invalid or repeated; the message names it.
    """
    if isinstance(constraints, str):
        constraints = [constraints]
    found: list[OutcomeConstraint] = []
    for text in constraints:
        if isinstance(text, OutcomeConstraint):
            found.append(text)
            continue
        match = _CONSTRAINT.fullmatch(text) if isinstance(text, str) else None
        bound = math.nan
        if match is not None:
            with suppress(ValueError):
                bound = float(match[3])
        if match is None or not math.isfinite(bound):
            raise ArgumentError(
                f'constraints: {text!r}: write a metric, "<=" or ">=", and a number, '
                f'such as "latency <= 0.1"'
            )
        found.append(OutcomeConstraint(as_name(match[1], "metric"), match[2], bound))
    twice = {str(c) for c in found if found.count(c) > 1}
    if twice:
        raise ArgumentError(f"constraints: {twice.pop()!r} is repeated; write it once")
    return tuple(found)
