"""Turn a store back into one of an earlier schema."""

from __future__ import annotations

from sqlalchemy import Connection, text

COLUMNS_OF_0009 = ("model_versions.estimate",)

COLUMNS_OF_0008 = ("runs.purpose", "runs.seed")

COLUMNS_OF_0007 = (
    "studies.notes",
    "studies.archived",
    "studies.deleted",
    "codes.used",
    "environments.used",
    "models.removed",
)


def drop_columns(connection: Connection, *columns: str) -> None:
    """Drop columns that are given as ``table.column``."""
    for column in columns:
        table, name = column.split(".")
        connection.execute(text(f'ALTER TABLE {table} DROP COLUMN "{name}"'))
