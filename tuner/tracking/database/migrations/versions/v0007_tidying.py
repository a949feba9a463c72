"""Tidying: notes on studies, archived and deleted studies, removed versions."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; nothing is archived, deleted or removed yet."""
    added: dict[str, list[sa.Column[Any]]] = {
        "studies": [
            sa.Column("notes", sa.JSON()),
            sa.Column(
                "archived", sa.Double(), comment="when it was hidden from lists, NULL if it is not"
            ),
            sa.Column(
                "deleted", sa.Double(), comment="when it was deleted: see `tuner.tracking.edits`"
            ),
        ],
        "codes": [_used()],
        "environments": [_used()],
        "models": [
            sa.Column(
                "removed",
                sa.Integer(),
                comment="highest version that was removed; never given again",
            )
        ],
    }
    for table, columns in added.items():
        for column in columns:
            op.add_column(table, column)


def _used() -> sa.Column[Any]:
    return sa.Column(
        "used", sa.Double(), comment="when a process last recorded it; may be ten minutes early"
    )
