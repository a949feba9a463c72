from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from tuner.tracking import SqlStore, open_store


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Fit small models without the threads that cost them more than they save."""
    with threadpool_limits(1):
        yield


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SqlStore]:
    where: Path | str = tmp_path / "store"
    if request.param == "postgresql":
        monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path / "artifacts"))
        where = request.getfixturevalue("new_database")()
    store = open_store(where)
    yield store
    store.close()
