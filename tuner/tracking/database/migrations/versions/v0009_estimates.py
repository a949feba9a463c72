"""Estimates: the true value of a registered trial, estimated."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; earlier versions have no estimate."""
    op.add_column(
        "model_versions",
        sa.Column("estimate", sa.JSON(), comment="of the true value, as `ValueEstimate` gives it"),
    )
