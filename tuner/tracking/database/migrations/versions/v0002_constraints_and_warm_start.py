"""Outcome constraints, and the earlier trials of a warm start."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns; existing studies have neither constraints nor earlier trials."""
    op.add_column(
        "studies",
        sa.Column(
            "constraints",
            sa.JSON(),
            comment="metric, operator and bound of each outcome constraint",
        ),
    )
    op.add_column(
        "studies",
        sa.Column(
            "earlier",
            sa.JSON(),
            comment="trials of other studies that the search began with",
        ),
    )
    op.add_column(
        "trials",
        sa.Column(
            "constraints",
            sa.JSON(),
            comment="by outcome constraint: 0 or less where it is kept",
        ),
    )
