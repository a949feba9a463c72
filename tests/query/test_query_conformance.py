from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.queries import QueryConformance
from tuner.tracking.sql_store import SqlStore, open_store


@pytest.mark.slow
class TestSqliteQueries(QueryConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqlStore]:
        store = open_store(tmp_path / "store")
        yield store
        store.close()


class TestPostgresQueries(QueryConformance):
    @pytest.fixture
    def store(
        self,
        new_database: Callable[[], str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[SqlStore]:
        monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path / "artifacts"))
        store = open_store(new_database())
        yield store
        store.close()
