"""Numbers for people: few digits, no rounding error, no negative zero, and differences kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.records.numbers import (
    distinct_texts,
    literal_text,
    number_text,
    seconds_text,
    value_text,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0010000000000000002, "0.001"),
        (0.1 + 0.2, "0.3"),
        (-0.0, "0"),
        (1e-05, "1e-5"),
        (1e-300, "1e-300"),
        (123456.0, "123456"),
        (1234567.0, "1234567"),
        (1234567.89, "1234568"),
        (1e6, "1e6"),
        (6.02214076e23, "6.02214e23"),
        (2**63, "9223372036854775808"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (np.float32(0.1), "0.1"),
        (np.float64(0.25), "0.25"),
    ],
)
def test_a_number_is_short_and_plain(value: float, text: str) -> None:
    assert number_text(value) == text


@given(FINITE)
def test_six_digits_are_kept(value: float) -> None:
    text = number_text(value)
    assert float(text) == pytest.approx(value, rel=5.1e-6, abs=0)
    assert text != "-0"
    assert "e+" not in text
    assert "e0" not in text


@given(FINITE)
def test_a_number_to_copy_is_exact_except_for_rounding_error(value: float) -> None:
    text = number_text(value, None)
    assert float(text) == pytest.approx(value, rel=1e-14, abs=0)
    assert len(text) <= len(repr(value)) + 1


@given(st.lists(st.floats(), min_size=2, max_size=4))
def test_different_numbers_look_different(values: list[float]) -> None:
    texts = distinct_texts(values)
    for a, text_a in zip(values, texts, strict=True):
        for b, text_b in zip(values, texts, strict=True):
            if a != b and not (math.isnan(a) and math.isnan(b)):
                assert text_a != text_b


def test_numbers_within_containers_are_short_too() -> None:
    noise = 0.0010000000000000002
    assert value_text({"C": [noise, (noise,)]}) == "{'C': [0.001, (0.001,)]}"
    assert literal_text(("svm", {"C": noise}), None) == "('svm', {'C': 0.001})"
    assert value_text("0.0010000000000000002") == "0.0010000000000000002"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (3599.9, "1 h 0 min"),
        (float("inf"), "inf s"),
    ],
)
def test_rounded_durations_carry_into_the_next_unit(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text
