"""A store with models to serve."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.served_models import make_store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("served"))
