"""The part of the conformance suite that slow optimizers leave to ``make soak``."""

from __future__ import annotations

import pytest

ONE_SPACE = ("TestAuto", "TestOptunaTPE")
"""Suites that take one space in ``make test``: their parts have suites of their own.

The automatic choice passes on to TPE and Gaussian processes; of the adapter of Optuna, three other
samplers take all spaces.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        if (
            callspec is None
            or "space" not in callspec.params
            or not isinstance(item, pytest.Function)
        ):
            continue
        if item.cls and item.cls.__name__ in ONE_SPACE and "three levels" not in callspec.id:
            item.add_marker(pytest.mark.soak)
