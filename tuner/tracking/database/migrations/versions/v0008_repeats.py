"""Repeats: the purpose and the seed of a run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; replays were marked by the name of their worker."""
    op.add_column(
        "runs", sa.Column("purpose", sa.String(16), nullable=False, server_default="attempt")
    )
    op.add_column(
        "runs", sa.Column("seed", sa.Text(), comment="of a repeat; NULL for the seed of the trial")
    )
    runs = sa.table("runs", sa.column("worker"), sa.column("purpose"))
    op.execute(runs.update().where(runs.c.worker == "replay").values(purpose="replay"))
