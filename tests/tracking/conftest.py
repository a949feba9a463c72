from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from benchmarks.postgres import running_server


@pytest.fixture(scope="session")
def new_database() -> Iterator[Callable[[], str]]:
    """A function that makes a PostgreSQL database and returns its URL."""
    with running_server() as server:
        yield server.new_database
