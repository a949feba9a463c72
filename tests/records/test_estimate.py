"""The estimate of a registered trial as a record."""

from __future__ import annotations

import math
from dataclasses import replace

from tuner.records import ValueEstimate

UNKNOWN = ValueEstimate(1.0, math.nan, math.nan, 1, None, "", math.nan, 0.0, 3, 0, "user")


def test_an_estimate_without_an_interval_equals_its_copy_from_json() -> None:
    copy = ValueEstimate.from_json(UNKNOWN.to_json())
    assert copy == UNKNOWN
    assert hash(copy) == hash(UNKNOWN)


def test_estimates_that_differ_in_a_field_are_unequal() -> None:
    assert replace(UNKNOWN, low=0.5) != UNKNOWN
    assert replace(UNKNOWN, chosen="winner") != UNKNOWN
    assert UNKNOWN != 1.0
