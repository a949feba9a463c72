"""Signatures: what models take and give, and samples of what was served."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns, which are NULL for earlier models, and the table."""
    for table in ("artifacts", "model_versions"):
        op.add_column(
            table, sa.Column("signature", sa.JSON(), comment="inputs and outputs of the model")
        )
    op.create_table(
        "served_samples",
        sa.Column("id", _Key, primary_key=True),
        sa.Column("model_id", _Key, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False, comment="seconds since the epoch, UTC"),
        sa.Column("seen", sa.BigInteger(), nullable=False, comment="rows that were sampled from"),
        sa.Column("rows", sa.Integer(), nullable=False, comment="rows that are kept here"),
        sa.Column("data", sa.JSON(), nullable=False, comment="columns and predictions"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_served_samples_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_served_samples"),
    )
    op.create_index(
        "ix_served_samples_model_id_version_at", "served_samples", ["model_id", "version", "at"]
    )
