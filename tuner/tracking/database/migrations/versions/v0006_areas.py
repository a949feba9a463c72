"""Areas: the artifacts of a shared root that belong to a store."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table; a store gets its area when it keeps the next artifact."""
    op.create_table(
        "areas",
        sa.Column("id", _Key, primary_key=True),
        sa.Column(
            "root",
            sa.Text(),
            nullable=False,
            comment="artifact folder, relative to a SQLite file, or URL",
        ),
        sa.Column("uid", sa.String(32), nullable=False, comment="folder below <root>/stores"),
        sa.Column(
            "place", sa.Text(), nullable=False, comment="where this database was when it got it"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_areas"),
        sa.UniqueConstraint("uid", name="uq_areas_uid"),
        if_not_exists=True,
    )
    if op.get_bind().dialect.name == "sqlite":
        # The number in the header identifies the file: see `tuner.tracking.database.file_monitor`.
        op.execute(f"PRAGMA user_version = {secrets.randbelow(2**31 - 1) + 1}")
