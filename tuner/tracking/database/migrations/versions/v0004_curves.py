"""Curves, the packed reports of ended runs, and an index for the best trial."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table; ``tuner db compact`` fills it from the existing reports."""
    op.create_table(
        "curves",
        sa.Column("run_id", _KEY, primary_key=True, autoincrement=False),
        sa.Column("metric_id", _KEY, primary_key=True, autoincrement=False),
        sa.Column("steps", sa.LargeBinary(), comment="NULL stands for 0, 1, 2, ..."),
        sa.Column(
            "values", sa.LargeBinary(), nullable=False, comment="IEEE doubles, low byte first"
        ),
        sa.PrimaryKeyConstraint("run_id", "metric_id", name="pk_curves"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_curves_run_id"),
        sa.ForeignKeyConstraint(["metric_id"], ["metrics.id"], name="fk_curves_metric_id"),
    )
    op.drop_index("ix_trials_study_id_state", table_name="trials")
    op.create_index("ix_trials_best", "trials", ["study_id", "state", "value", "number"])
