"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "codes",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("commit", sa.Text(), nullable=False),
        sa.Column("diff", sa.Text(), nullable=False),
        sa.Column("objective", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_sha256", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_codes"),
        sa.UniqueConstraint("key", name="uq_codes_key"),
    )
    op.create_table(
        "environments",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("python", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("packages", sa.JSON()),
        sa.PrimaryKeyConstraint("id", name="pk_environments"),
        sa.UniqueConstraint("key", name="uq_environments_key"),
    )
    op.create_table(
        "metrics",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_metrics"),
        sa.UniqueConstraint("name", name="uq_metrics_name"),
    )
    op.create_table(
        "models",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("name", name="uq_models_name"),
    )
    op.create_table(
        "studies",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("uid", sa.String(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("space", sa.JSON(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("goals", sa.JSON(), nullable=False, comment="metric and direction of each goal"),
        sa.Column("seed", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False, comment="seconds since the epoch, UTC"),
        sa.Column("optimizer", sa.JSON()),
        sa.Column(
            "data", sa.Text(), nullable=False, comment="fingerprint of the data, empty if not given"
        ),
        sa.Column("tags", sa.JSON()),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
        sa.UniqueConstraint("name", name="uq_studies_name"),
        sa.UniqueConstraint("uid", name="uq_studies_uid"),
    )
    op.create_table(
        "trials",
        sa.Column("study_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column(
            "params",
            sa.JSON(),
            nullable=False,
            comment="dotted path: value; active parameters only",
        ),
        sa.Column("value", sa.Double(), comment="value of the first goal, for queries"),
        sa.Column("values", sa.JSON(), comment="one value per goal"),
        sa.Column("metrics", sa.JSON(), comment="the final metrics"),
        sa.Column("error", sa.JSON()),
        sa.Column("seed", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("started", sa.Double()),
        sa.Column("ended", sa.Double()),
        sa.Column("notes", sa.JSON()),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_trials_study_id"),
        sa.PrimaryKeyConstraint("study_id", "number", name="pk_trials"),
    )
    op.create_index("ix_trials_study_id_state", "trials", ["study_id", "state"])
    op.create_table(
        "runs",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("uid", sa.String(length=32), nullable=False),
        sa.Column("study_id", _KEY, nullable=False),
        sa.Column("trial", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("metrics", sa.JSON()),
        sa.Column("error", sa.JSON()),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger()),
        sa.Column("started", sa.Double()),
        sa.Column("ended", sa.Double()),
        sa.Column("output", sa.Text(), nullable=False),
        sa.Column("environment_id", _KEY),
        sa.Column("code_id", _KEY),
        sa.ForeignKeyConstraint(["code_id"], ["codes.id"], name="fk_runs_code_id"),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name="fk_runs_environment_id"
        ),
        sa.ForeignKeyConstraint(
            ["study_id", "trial"],
            ["trials.study_id", "trials.number"],
            name="fk_runs_study_id_trial",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("uid", name="uq_runs_uid"),
    )
    op.create_index("ix_runs_study_id_trial_attempt", "runs", ["study_id", "trial", "attempt"])
    op.create_table(
        "artifacts",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("run_id", _KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False, comment="relative to the artifact folder"),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="bytes"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_artifacts_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
        sa.UniqueConstraint("run_id", "path", name="uq_artifacts_run_id_path"),
    )
    op.create_table(
        "reports",
        sa.Column("run_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("metric_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("value", sa.Double(), comment="NULL stands for NaN"),
        sa.ForeignKeyConstraint(["metric_id"], ["metrics.id"], name="fk_reports_metric_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_reports_run_id"),
        sa.PrimaryKeyConstraint("run_id", "step", "metric_id", name="pk_reports"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "model_versions",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("model_id", _KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, comment="from 1 within the model"),
        sa.Column("study", sa.String(length=32), nullable=False),
        sa.Column("trial", sa.BigInteger(), nullable=False),
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column(
            "params", sa.JSON(), nullable=False, comment="nested, as `encode_params` gives them"
        ),
        sa.Column("metric", sa.Text(), nullable=False, comment="metric of the goal"),
        sa.Column("direction", sa.String(length=16), nullable=False),
        sa.Column("value", sa.Double(), comment="NULL stands for NaN"),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("artifact_id", _KEY),
        sa.Column(
            "code",
            sa.String(length=32),
            nullable=False,
            comment="key of the code, empty if unknown",
        ),
        sa.Column(
            "environment", sa.String(length=32), nullable=False, comment="key of the environment"
        ),
        sa.Column("data", sa.Text(), nullable=False, comment="fingerprint of the data"),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifacts.id"], name="fk_model_versions_artifact_id"
        ),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_model_versions_model_id"),
        sa.ForeignKeyConstraint(["run"], ["runs.uid"], name="fk_model_versions_run"),
        sa.ForeignKeyConstraint(["study"], ["studies.uid"], name="fk_model_versions_study"),
        sa.PrimaryKeyConstraint("id", name="pk_model_versions"),
        sa.UniqueConstraint("model_id", "version", name="uq_model_versions_model_id_version"),
    )
    op.create_index("ix_model_versions_run", "model_versions", ["run"])
    op.create_table(
        "aliases",
        sa.Column("model_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("version_id", _KEY, nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_aliases_model_id"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_versions.id"], name="fk_aliases_version_id"
        ),
        sa.PrimaryKeyConstraint("model_id", "alias", name="pk_aliases"),
    )
