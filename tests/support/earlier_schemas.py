"""Turn a store back into one of an earlier schema."""

from __future__ import annotations

from sqlalchemy import Connection, text

from tuner.tracking import schema

ADDED = {
    "0011": ("served_samples", "artifacts.signature", "model_versions.signature"),
    "0010": (
        "model_history",
        "models.rules",
        "model_versions.note",
        "model_versions.tags",
        "model_versions.description",
    ),
    "0009": ("model_versions.estimate",),
    "0008": ("runs.purpose", "runs.seed"),
    "0007": (
        "studies.notes",
        "studies.archived",
        "studies.deleted",
        "codes.used",
        "environments.used",
        "models.removed",
    ),
    "0006": ("areas",),
    "0005": ("studies.user", "index ix_trials_study_id_value"),
    "0004": ("curves",),
    "0003": ("leases",),
    "0002": ("studies.constraints", "studies.earlier", "trials.constraints"),
}
"""Tables, columns and indexes that each revision added."""


def go_back(connection: Connection, revision: str) -> None:
    """Drop what the revisions after `revision` added."""
    for later, added in ADDED.items():
        for name in added if later > revision else ():
            table, dot, column = name.partition(".")
            if name.startswith("index "):
                connection.execute(text(f"DROP {name}"))
            elif dot:
                connection.execute(text(f'ALTER TABLE {table} DROP COLUMN "{column}"'))
            else:
                connection.execute(text(f"DROP TABLE {table}"))
    connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{revision}'"))
