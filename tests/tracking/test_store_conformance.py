from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.curves import CurveConformance
from conformance.leases import LeaseConformance
from conformance.stores import StoreConformance
from conformance.tidying import TidyingConformance
from tuner.tracking import Store, open_store


class TestSqliteStore(StoreConformance, LeaseConformance, CurveConformance, TidyingConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = open_store(tmp_path / "store")
        yield store
        store.close()


class TestPostgresStore(StoreConformance, LeaseConformance, CurveConformance, TidyingConformance):
    @pytest.fixture
    def store(
        self,
        new_database: Callable[[], str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[Store]:
        monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path / "artifacts"))
        store = open_store(new_database())
        yield store
        store.close()
