"""Baseline of the bare databases: rows of step metrics in batches, without `tuner`."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

BATCH = 10_000


def sqlite_rows_a_second(folder: Path, n: int) -> float:
    """Return the rows (run, step, metric, value) per second of SQLite with executemany."""
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(
        "CREATE TABLE m (run INTEGER, step INTEGER, metric INTEGER, value REAL, "
        "PRIMARY KEY (run, step, metric)) WITHOUT ROWID"
    )
    parts = _parts(n)
    began = time.perf_counter()
    for part in parts:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO m VALUES (?, ?, ?, ?)", part)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - began
    connection.close()
    return n / seconds


def postgres_rows_a_second(url: str, n: int) -> float:
    """Return the same for PostgreSQL with psycopg's executemany."""
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute(
            "CREATE TABLE m (run bigint, step bigint, metric bigint, value float8, "
            "PRIMARY KEY (run, step, metric))"
        )
        connection.commit()
        parts = _parts(n)
        began = time.perf_counter()
        for part in parts:
            with connection.cursor() as cursor:
                cursor.executemany("INSERT INTO m VALUES (%s, %s, %s, %s)", part)
            connection.commit()
        return n / (time.perf_counter() - began)


def _parts(n: int) -> list[list[tuple[int, int, int, float]]]:
    rows = [(k // 1000, k % 1000, 1, 1.0 / (k + 1)) for k in range(n)]
    return [rows[start : start + BATCH] for start in range(0, n, BATCH)]
