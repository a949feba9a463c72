"""The part of the conformance suite that slow optimizers leave to ``make soak``."""

from __future__ import annotations

import pytest

from tuner.testing.problems import SPACES

DELEGATING = ("TestAuto", "TestOptunaTPE")
"""Suites that take the first case of each test in ``make test``: their parts have own suites.

The automatic choice passes on to TPE and Gaussian processes; of the adapter of Optuna, three other
samplers take all spaces.
"""


HALF = ("TestBayesian",)
"""Suites that take half of the spaces in each test: each space is in other tests."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests: list[str] = []
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is None or not isinstance(item, pytest.Function) or item.cls is None:
            continue
        suite, places = item.cls.__name__, dict(callspec.indices)
        if "space" in places:  # the richest one comes first
            places["space"] = (places["space"] - list(SPACES).index("three levels")) % len(SPACES)
        if suite in DELEGATING:
            left_out = any(places.values())
        elif suite in HALF and "space" in places:
            tests += [item.originalname] if item.originalname not in tests else []
            left_out = (tests.index(item.originalname) + places["space"]) % 2 == 1
        else:
            continue
        if left_out:
            item.add_marker(pytest.mark.soak)
