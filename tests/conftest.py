"""One Ray for all tests that need one in this process, and properties without deadlines."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A loaded machine may take a second for what takes a millisecond on a quiet one.
settings.register_profile("tuner", deadline=None)
settings.load_profile("tuner")


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Four CPUs, whatever the machine has; a backend uses the Ray that is there, and leaves it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(address="local", num_cpus=4, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()
