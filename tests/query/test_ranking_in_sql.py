"""The record ranks trials as `tuner.optimizers.ranking` does, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.record_strategies import ranked_histories
from conformance.stores import shared
from tuner.optimizers import ranking
from tuner.query import search
from tuner.records import Direction, Goal, StudyInfo, Trial
from tuner.tracking import Batch
from tuner.tracking.store import Store, open_store
from tuner.tracking.uuid7 import uuid7


class RankingInSql:
    @shared
    @given(ranked_histories(), st.sampled_from(list(Direction)))
    def test_sql_and_python_rank_trials_alike(
        self, store: Store, trials: list[Trial], direction: Direction
    ) -> None:
        goal = Goal("loss", direction)
        info = store.create_study(StudyInfo(uuid7(), uuid7(), {}, "0", (goal,), 1, 1.5))
        store.write(info.uid, Batch(trials))
        best = ranking.best(goal, trials)
        assert next((t for t in store.best_trials(info.uid, direction) if t.eligible), None) == best
        value = 0.0 if best is None else best.value
        found = search(store, f'name = "{info.name}" and best = {value}', what="studies")
        assert [study.uid for study in found] == ([] if best is None else [info.uid])


class TestRankingOnSqlite(RankingInSql):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = open_store(tmp_path / "store")
        yield store
        store.close()


class TestRankingOnPostgres(RankingInSql):
    @pytest.fixture
    def store(
        self, new_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Store]:
        monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path / "artifacts"))
        store = open_store(new_database())
        yield store
        store.close()
