"""The single statement of an ask or a tell on PostgreSQL."""

from __future__ import annotations

from tuner.tracking import writes


def test_the_statement_fits_into_the_cache_of_the_driver() -> None:
    """Psycopg parses a query again each time if it exceeds 4,096 characters or 50 parameters."""
    sql, names, _ = writes._statement()
    assert len(sql) <= 4096
    assert len(names) <= 50
