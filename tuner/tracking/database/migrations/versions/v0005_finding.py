"""Search: the creator of a study, and an index of trials by value."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and an index for the first page of a list sorted by value."""
    op.add_column("studies", sa.Column("user", sa.Text(), comment="who created it"))
    op.create_index("ix_trials_study_id_value", "trials", ["study_id", "value"])
