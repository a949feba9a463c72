"""One Ray for all tests that need one in this process, as it takes seconds to start."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Four CPUs, whatever the machine has; a backend uses the Ray that is there, and leaves it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(address="local", num_cpus=4, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()
