"""Resolve backend names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tuner import backends
from tuner.backends import ProcessBackend, RayBackend, SerialBackend, resolve
from tuner.errors import ArgumentError


def test_a_name_an_object_or_none_gives_a_backend() -> None:
    assert isinstance(resolve(None), RayBackend)
    assert isinstance(resolve("ray"), RayBackend)
    assert isinstance(resolve("serial"), SerialBackend)
    assert isinstance(resolve("processes"), ProcessBackend)
    mine = SerialBackend()
    assert resolve(mine) is mine


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("serail", "did you mean 'serial'"),
        ("dask", "choose 'ray', 'serial', 'processes'"),
        (SerialBackend, r"write SerialBackend\(\)"),
        (3, "3 lacks start, capacity"),
    ],
)
def test_a_value_that_is_not_a_backend_is_refused_with_a_remedy(spec: object, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        resolve(spec)


def test_an_unknown_attribute_is_named() -> None:
    with pytest.raises(AttributeError, match="DaskBackend"):
        backends.DaskBackend  # noqa: B018


@pytest.mark.process
def test_ray_is_imported_when_it_is_used() -> None:
    code = """
import sys
from tuner.backends import resolve
from tuner.errors import ResourcesError
backend = resolve(None)
try:
    backend.start(print, workers=10_000)
except ResourcesError:
    print("refused", "ray" in sys.modules)
backend.close()
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "refused False\n"
