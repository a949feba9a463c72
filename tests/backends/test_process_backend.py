"""A pool of worker processes on this machine."""

from __future__ import annotations

import pytest

from tuner.backends import ProcessBackend
from tuner.testing import IsolatingBackendConformance

pytestmark = pytest.mark.process


class TestProcessBackend(IsolatingBackendConformance):
    def make(self) -> ProcessBackend:
        return ProcessBackend()
