"""The plans that PostgreSQL keeps for a connection that writes."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from benchmarks.store import ours
from tuner.tracking import open_store

BATCHES = 300
TRIALS = 20


def test_write_time_does_not_grow_with_the_number_of_trials(
    new_database: Callable[[], str],
) -> None:
    url = new_database()
    store = open_store(url)
    study = ours.new_study(store).uid
    for k in range(BATCHES):
        store.write(study, next(ours.batches(TRIALS, reports=1, first=TRIALS * k)))
    with store.reading() as connection:
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    store.close()
    with psycopg.connect(url) as looking:
        (pages,) = looking.execute(
            "SELECT sum(idx_blks_hit) FROM pg_statio_user_indexes "
            "WHERE indexrelname LIKE 'ix_trials_%'"
        ).fetchone() or (0,)
    # Each trial's entries in the two of them take four. By a plan made for an empty table,
    # the check that a run has its trial goes through all of a study: up to thirty more.
    assert 2 <= pages / (BATCHES * TRIALS) < 8
