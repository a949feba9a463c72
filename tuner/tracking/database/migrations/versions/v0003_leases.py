"""Leases: one driver at a time holds a study."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table; studies of earlier versions have no holder."""
    op.create_table(
        "leases",
        sa.Column("study_id", _Key, primary_key=True, autoincrement=False),
        sa.Column(
            "epoch",
            sa.BigInteger(),
            nullable=False,
            comment="one more with each driver; never less",
        ),
        sa.Column(
            "until", sa.Double(), nullable=False, comment="database time; 0 where it was given back"
        ),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column(
            "process", sa.Text(), nullable=False, comment="which process of that number it is"
        ),
        sa.PrimaryKeyConstraint("study_id", name="pk_leases"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_leases_study_id"),
    )
