"""The tables of a store, the same on SQLite and PostgreSQL.

Rows have integer primary keys. For external use, studies and runs have a UUIDv7. The params of a
trial are one JSON column of dotted paths (``{"model": "svm", "model.svm.C": 1.0}``), which SQL can
query; metrics over steps are one narrow table.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.types import TypeDecorator

REVISIONS = tuple(f"{number:04}" for number in range(1, 12))
"""Every revision of this schema, oldest first; this code reads and writes the last one."""

VERSION_TABLE = "tuner_schema"
"""The table in which alembic keeps the revision; other programs' stores use the usual name."""


class ExactText(TypeDecorator[str]):
    """Text that is returned exactly as it was given.

    Captured output may hold NUL, which PostgreSQL refuses, and lone surrogates, which every
    database refuses. These, and the escape character itself, are stored as the escape character and
    four hexadecimal digits.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _: Dialect) -> str | None:
        """Escape characters that a database would refuse."""
        return None if value is None else escape_text(value)

    def process_result_value(self, value: str | None, _: Dialect) -> str | None:
        """Undo `process_bind_param`."""
        if value is None or _ESCAPE not in value:
            return value
        return re.sub(f"{_ESCAPE}(....)", lambda m: chr(int(m[1], 16)), value)


class BigCount(TypeDecorator[int]):
    """A non-negative integer of any size, stored as text: seeds may have 128 bits."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: int | None, _: Dialect) -> str | None:
        """Return the decimal digits."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, _: Dialect) -> int | None:
        """Parse the decimal digits."""
        return None if value is None else int(value)


_ESCAPE = "\x1a"
_UNSAFE = re.compile("[\x00\x1a\ud800-\udfff]")


def escape_text(text: str) -> str:
    """Return `text` in the stored form of `ExactText`."""
    return _UNSAFE.sub(lambda m: f"{_ESCAPE}{ord(m[0]):04x}", text)


# SQLite assigns row numbers itself only if the key is declared INTEGER.
_Key = BigInteger().with_variant(Integer(), "sqlite")
_Json = JSON(none_as_null=True)


def _id() -> Column[Any]:
    return Column("id", _Key, primary_key=True)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

studies = Table(
    "studies",
    metadata,
    _id(),
    Column("uid", String(32), nullable=False, unique=True),
    Column("name", ExactText, nullable=False, unique=True),
    Column("space", _Json, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("goals", _Json, nullable=False, comment="metric and direction of each goal"),
    Column("seed", BigCount, nullable=False),
    Column("created", Double, nullable=False, comment="seconds since the epoch, UTC"),
    Column("optimizer", _Json),
    Column("data", Text, nullable=False, comment="fingerprint of the data, empty if not given"),
    Column("tags", _Json),
    Column("constraints", _Json, comment="metric, operator and bound of each outcome constraint"),
    Column("earlier", _Json, comment="trials of other studies that the search began with"),
    Column("user", ExactText, comment="who created it"),
    Column("notes", _Json),
    Column("archived", Double, comment="when it was hidden from lists, NULL if it is not"),
    Column("deleted", Double, comment="when it was deleted: see `tuner.tracking.edits`"),
)

# The driver that runs a study: see `tuner.tracking.leases`.
leases = Table(
    "leases",
    metadata,
    Column("study_id", _Key, ForeignKey(studies.c.id), primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False, comment="one more with each driver; never less"),
    Column("until", Double, nullable=False, comment="database time; 0 where it was given back"),
    Column("host", ExactText, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("process", ExactText, nullable=False, comment="which process of that number it is"),
)

codes = Table(
    "codes",
    metadata,
    _id(),
    Column("key", String(32), nullable=False, unique=True),
    Column("commit", ExactText, nullable=False),
    Column("diff", ExactText, nullable=False),
    Column("objective", ExactText, nullable=False),
    Column("source", ExactText, nullable=False),
    Column("source_sha256", ExactText, nullable=False),
    Column("used", Double, comment="when a process last recorded it; may be ten minutes early"),
)

environments = Table(
    "environments",
    metadata,
    _id(),
    Column("key", String(32), nullable=False, unique=True),
    Column("python", ExactText, nullable=False),
    Column("platform", ExactText, nullable=False),
    Column("packages", _Json),
    Column("used", Double, comment="when a process last recorded it; may be ten minutes early"),
)

trials = Table(
    "trials",
    metadata,
    Column("study_id", _Key, ForeignKey(studies.c.id), primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("params", _Json, nullable=False, comment="dotted path: value; active parameters only"),
    Column("value", Double, comment="value of the first goal, for queries"),
    Column("values", _Json, comment="one value per goal"),
    Column("metrics", _Json, comment="the final metrics"),
    Column("error", _Json),
    Column("seed", BigCount, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("started", Double),
    Column("ended", Double),
    Column("notes", _Json),
    Column("constraints", _Json, comment="by outcome constraint: 0 or less where it is kept"),
    Index("ix_trials_best", "study_id", "state", "value", "number"),
    Index("ix_trials_study_id_value", "study_id", "value"),
)

runs = Table(
    "runs",
    metadata,
    _id(),
    Column("uid", String(32), nullable=False, unique=True),
    Column("study_id", _Key, nullable=False),
    Column("trial", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("metrics", _Json),
    Column("error", _Json),
    Column("worker", ExactText, nullable=False),
    Column("host", ExactText, nullable=False),
    Column("pid", BigInteger),
    Column("started", Double),
    Column("ended", Double),
    Column("output", ExactText, nullable=False),
    Column("environment_id", _Key, ForeignKey(environments.c.id)),
    Column("code_id", _Key, ForeignKey(codes.c.id)),
    Column("purpose", String(16), nullable=False, server_default="attempt"),
    Column("seed", BigCount, comment="of a repeat; NULL for the seed of the trial"),
    ForeignKeyConstraint(["study_id", "trial"], [trials.c.study_id, trials.c.number]),
    Index(None, "study_id", "trial", "attempt"),
)

metrics = Table(
    "metrics",
    metadata,
    _id(),
    Column("name", ExactText, nullable=False, unique=True),
)

# Ordered by run, step and metric: reports are read and written in that order.
reports = Table(
    "reports",
    metadata,
    Column("run_id", _Key, ForeignKey(runs.c.id), primary_key=True, autoincrement=False),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("metric_id", _Key, ForeignKey(metrics.c.id), primary_key=True, autoincrement=False),
    Column("value", Double, comment="NULL stands for NaN"),
    sqlite_with_rowid=False,
)

# The packed `reports` of a run that has ended: see `tuner.tracking.curves`.
curves = Table(
    "curves",
    metadata,
    Column("run_id", _Key, ForeignKey(runs.c.id), primary_key=True, autoincrement=False),
    Column("metric_id", _Key, ForeignKey(metrics.c.id), primary_key=True, autoincrement=False),
    Column("steps", LargeBinary, comment="NULL stands for 0, 1, 2, ..."),
    Column("values", LargeBinary, nullable=False, comment="IEEE doubles, low byte first"),
)

# A row never changes. If a run keeps different content under the same name, that content has a
# different path and a new row, so a model version keeps its meaning.
artifacts = Table(
    "artifacts",
    metadata,
    _id(),
    Column("run_id", _Key, ForeignKey(runs.c.id), nullable=False),
    Column("name", ExactText, nullable=False),
    Column("path", Text, nullable=False, comment="relative to the artifact folder"),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False, comment="bytes"),
    Column("kind", ExactText, nullable=False),
    Column("format", ExactText, nullable=False),
    Column("signature", _Json, comment="inputs and outputs of the model"),
    UniqueConstraint("run_id", "path"),
)

# The namespaces of this store in a shared artifact root: see `tuner.tracking.artifacts.namespaces`.
areas = Table(
    "areas",
    metadata,
    _id(),
    Column(
        "root",
        ExactText,
        nullable=False,
        comment="artifact folder, relative to a SQLite file, or URL",
    ),
    Column("uid", String(32), nullable=False, unique=True, comment="folder below <root>/stores"),
    Column("place", ExactText, nullable=False, comment="where this database was when it got it"),
)

models = Table(
    "models",
    metadata,
    _id(),
    Column("name", ExactText, nullable=False, unique=True),
    Column("created", Double, nullable=False),
    Column("removed", Integer, comment="highest version that was removed; never given again"),
    Column("rules", _Json, comment="rules of its aliases, NULL for the default ones"),
)

model_versions = Table(
    "model_versions",
    metadata,
    _id(),
    Column("model_id", _Key, ForeignKey(models.c.id), nullable=False),
    Column("version", Integer, nullable=False, comment="from 1 within the model"),
    Column("study", String(32), ForeignKey(studies.c.uid), nullable=False),
    Column("trial", BigInteger, nullable=False),
    Column("run", String(32), ForeignKey(runs.c.uid), nullable=False),
    Column("params", _Json, nullable=False, comment="nested, as `encode_params` gives them"),
    Column("metric", ExactText, nullable=False, comment="metric of the goal"),
    Column("direction", String(16), nullable=False),
    Column("value", Double, comment="NULL stands for NaN"),
    Column("created", Double, nullable=False),
    Column("artifact_id", _Key, ForeignKey(artifacts.c.id)),
    Column("code", String(32), nullable=False, comment="key of the code, empty if unknown"),
    Column("environment", String(32), nullable=False, comment="key of the environment"),
    Column("data", Text, nullable=False, comment="fingerprint of the data"),
    Column("estimate", _Json, comment="of the true value, as `ValueEstimate` gives it"),
    Column("note", ExactText, comment="why the rules gave it no alias, NULL if they did"),
    Column("tags", _Json),
    Column("description", ExactText),
    Column("signature", _Json, comment="inputs and outputs of the model"),
    UniqueConstraint("model_id", "version"),
    Index(None, "run"),
)

aliases = Table(
    "aliases",
    metadata,
    Column("model_id", _Key, ForeignKey(models.c.id), primary_key=True, autoincrement=False),
    Column("alias", ExactText, primary_key=True),
    Column("version_id", _Key, ForeignKey(model_versions.c.id), nullable=False),
)

# A row never changes; the rows of a model are deleted with the model only.
model_history = Table(
    "model_history",
    metadata,
    _id(),
    Column("model_id", _Key, ForeignKey(models.c.id), nullable=False),
    Column("action", String(16), nullable=False),
    Column("at", Double, nullable=False, comment="seconds since the epoch, UTC"),
    Column("who", ExactText, nullable=False),
    Column("why", ExactText, nullable=False),
    Column("alias", ExactText, comment="the alias that moved, NULL for other actions"),
    Column("before", Integer, comment="version that had the alias"),
    Column("after", Integer, comment="version that has the alias, or was approved"),
    Column("result", _Json, comment="decision of the rules, or the new rules"),
    Index(None, "model_id"),
)

# Samples of the inputs and predictions of served models: see `tuner.registry.served`.
served_samples = Table(
    "served_samples",
    metadata,
    _id(),
    Column("model_id", _Key, ForeignKey(models.c.id), nullable=False),
    Column("version", Integer, nullable=False),
    Column("at", Double, nullable=False, comment="seconds since the epoch, UTC"),
    Column("seen", BigInteger, nullable=False, comment="rows that were sampled from"),
    Column("rows", Integer, nullable=False, comment="rows that are kept here"),
    Column("data", _Json, nullable=False, comment="columns and predictions"),
    Index(None, "model_id", "version", "at"),
)


_ddl: dict[str, list[str]] = {}
"""SQL that creates the tables, by dialect; compiling it takes longer than running it."""


def create_tables(connection: Connection) -> None:
    """Create all tables in an empty database."""
    dialect = connection.dialect
    if dialect.name not in _ddl:
        found: list[str] = []
        mock = MockConnection(
            dialect, lambda sql, *_, **__: found.append(str(sql.compile(dialect=dialect)))
        )
        metadata.create_all(mock, checkfirst=False)
        _ddl[dialect.name] = found
    for statement in _ddl[dialect.name]:
        connection.exec_driver_sql(statement)
