from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from integrations.mlflow_server import MlflowServer

from benchmarks.postgres import running_server


@pytest.fixture(scope="session")
def new_database() -> Iterator[Callable[[], str]]:
    """A function that makes a PostgreSQL database and returns its URL."""
    with running_server() as server:
        yield server.new_database


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A running MLflow server; a test that stops it starts it again."""
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    server.start()
    try:
        yield server
    finally:
        server.stop()
