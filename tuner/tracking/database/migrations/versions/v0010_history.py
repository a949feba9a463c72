"""History: rules of models, the history of aliases, and annotations of versions."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns and the table; the history begins with the present aliases."""
    op.add_column(
        "models",
        sa.Column("rules", sa.JSON(), comment="rules of its aliases, NULL for the default ones"),
    )
    for column in (
        sa.Column("note", sa.Text(), comment="why the rules gave it no alias, NULL if they did"),
        sa.Column("tags", sa.JSON()),
        sa.Column("description", sa.Text()),
    ):
        op.add_column("model_versions", column)
    op.create_table(
        "model_history",
        sa.Column("id", _Key, primary_key=True),
        sa.Column("model_id", _Key, nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("at", sa.Double(), nullable=False, comment="seconds since the epoch, UTC"),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), comment="the alias that moved, NULL for other actions"),
        sa.Column("before", sa.Integer(), comment="version that had the alias"),
        sa.Column("after", sa.Integer(), comment="version that has the alias, or was approved"),
        sa.Column("result", sa.JSON(), comment="decision of the rules, or the new rules"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_model_history_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_model_history"),
    )
    op.create_index("ix_model_history_model_id", "model_history", ["model_id"])
    _keep_present_aliases()


def _keep_present_aliases() -> None:
    statement = sa.text(
        "INSERT INTO model_history (model_id, action, at, who, why, alias, after) "
        "SELECT aliases.model_id, 'upgrade', :now, '', "
        "'it had this alias before the history was recorded', aliases.alias, versions.version "
        "FROM aliases JOIN model_versions AS versions ON versions.id = aliases.version_id "
        "ORDER BY aliases.model_id, aliases.alias"
    )
    op.get_bind().execute(statement, {"now": time.time()})
