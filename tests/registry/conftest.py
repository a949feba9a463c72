from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.tracking import Store, open_store


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    where: Path | str = tmp_path / "store"
    if request.param == "postgresql":
        monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path / "artifacts"))
        where = request.getfixturevalue("new_database")()
    store = open_store(where)
    yield store
    store.close()
