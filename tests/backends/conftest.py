"""One Ray for all tests of backends, as it takes seconds to start."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    started = not ray.is_initialized()
    if started:
        ray.init(address="local", num_cpus=4, log_to_driver=False, logging_level="ERROR")
    yield
    if started:
        ray.shutdown()
