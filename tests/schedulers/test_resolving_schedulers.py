"""Resolution of the `scheduler` argument."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tuner import schedulers
from tuner.errors import ArgumentError
from tuner.schedulers import ASHA, MedianStopping, resolve


def test_a_name_an_object_or_none_gives_a_scheduler() -> None:
    assert resolve(None) is None
    assert isinstance(resolve("asha"), ASHA)
    assert isinstance(resolve("median"), MedianStopping)
    mine = ASHA(grace=5)
    assert resolve(mine) is mine


def test_a_name_gives_a_new_scheduler_each_time() -> None:
    assert resolve("asha") is not resolve("asha")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("assha", "did you mean 'asha'"),
        ("bohb", "choose 'asha', 'halving', 'hyperband', 'median'"),
        (ASHA, r"write ASHA\(\)"),
        (3, "3 lacks reset, on_report"),
    ],
)
def test_a_value_that_is_not_a_scheduler_is_refused_with_a_remedy(spec: object, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        resolve(spec)


def test_an_unknown_attribute_is_named() -> None:
    with pytest.raises(AttributeError, match="BOHB"):
        schedulers.BOHB  # noqa: B018


@pytest.mark.process
def test_schedulers_are_imported_when_used() -> None:
    code = "import sys, tuner.schedulers as s; print([m for m in sys.modules if 'asha' in m])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"
