"""Reads the tables of Optuna's relational storage, without Optuna and without writing to them."""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    Connection,
    DateTime,
    Double,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Text,
    create_engine,
    func,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError as BadUrl
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from tuner.boundary import translated
from tuner.credentials import hide, hide_in, remember
from tuner.errors import ForeignRecordError, MissingExtra

REVISIONS = ("v3.0.0.d", "v3.2.0.a")
"""The revisions of Optuna's schema that are read here; they differ in an index only."""

AT_ONCE = 500
"""Trials that are read with one set of statements."""

_metadata = MetaData()


def _table(name: str, *columns: str, **types: Any) -> Table:
    return Table(
        name, _metadata, *(Column(c, types.get(c, Integer)) for c in columns)
    )  # fmt: skip


_studies = _table("studies", "study_id", "study_name", study_name=String)
_directions = _table(
    "study_directions", "study_id", "objective", "direction", direction=String
)  # fmt: skip
_trials = _table(
    "trials", "trial_id", "number", "study_id", "state", "datetime_start", "datetime_complete",
    state=String, datetime_start=DateTime, datetime_complete=DateTime,
)  # fmt: skip
_params = _table(
    "trial_params", "param_id", "trial_id", "param_name", "param_value", "distribution_json",
    param_name=String, param_value=Double, distribution_json=Text,
)  # fmt: skip
_values = _table(
    "trial_values", "trial_id", "objective", "value", "value_type", value=Double, value_type=String
)
_steps = _table(
    "trial_intermediate_values", "trial_id", "step", "intermediate_value",
    "intermediate_value_type", intermediate_value=Double, intermediate_value_type=String,
)  # fmt: skip
_attributes = {
    name: _table(name, owner, "key", "value_json", key=String, value_json=Text)
    for name, owner in (
        ("study_user_attributes", "study_id"),
        ("study_system_attributes", "study_id"),
        ("trial_user_attributes", "trial_id"),
        ("trial_system_attributes", "trial_id"),
    )
}


@dataclass(frozen=True, slots=True)
class OptunaStudy:
    """A study as in Optuna's tables; directions are in the order of its objectives."""

    id: int
    name: str
    directions: tuple[str, ...]
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Distribution:
    """One distribution of a parameter, and the range of its internal numeric values."""

    param: str
    kind: str
    attributes: dict[str, Any]
    low: float
    high: float


@dataclass(slots=True)
class OptunaTrial:
    """A trial as in Optuna's tables; params are numbers, with their distribution's JSON."""

    number: int
    state: str
    started: float | None
    ended: float | None
    params: dict[str, tuple[float, str]] = field(default_factory=dict)
    values: dict[int, float] = field(default_factory=dict)
    reports: dict[int, float] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)


@contextmanager
def reading(url: str) -> Iterator[OptunaTables]:
    """Open Optuna's database and read a consistent snapshot of it.

    Parameters
    ----------
    url
        Optuna's ``storage``: an SQLAlchemy URL of SQLite or PostgreSQL, or a SQLite file.

    Raises
    ------
    ForeignRecordError
        If the database does not exist, is not Optuna's, or has an unknown schema.
    """
    with translated("optuna storage", files=ForeignRecordError, data=ForeignRecordError):
        shown, engine = _engine(url)
    try:
        with (
            translated(
                f"optuna storage {shown}", files=ForeignRecordError, data=ForeignRecordError
            ),
            _as_foreign(shown),
            engine.connect() as connection,
        ):
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            else:
                connection.exec_driver_sql(
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
                )
            _check_schema(connection, shown)
            yield OptunaTables(connection, shown)
    finally:
        engine.dispose()


@contextmanager
def _as_foreign(shown: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        hide_in(error)
        raise ForeignRecordError(
            f"optuna storage {shown} cannot be read: {getattr(error, 'orig', None) or error}"
        ) from error


class OptunaTables:
    """Optuna's tables on a connection; `shown` is their name in messages."""

    def __init__(self, connection: Connection, shown: str) -> None:
        self._connection = connection
        self.shown = shown

    def studies(self) -> list[OptunaStudy]:
        """Return all studies, oldest first."""
        query = select(_studies.c.study_id, _studies.c.study_name).order_by(_studies.c.study_id)
        return [self._study(*row) for row in self._connection.execute(query).all()]

    def distributions(self, study: int) -> list[Distribution]:
        """Return all distributions of a study's parameters, in the order of first use."""
        p = _params
        query = (
            select(
                p.c.param_name,
                p.c.distribution_json,
                func.min(p.c.param_value),
                func.max(p.c.param_value),
            )
            .join_from(p, _trials, p.c.trial_id == _trials.c.trial_id)
            .where(_trials.c.study_id == study)
            .group_by(p.c.param_name, p.c.distribution_json)
            .order_by(func.min(p.c.param_id))
        )
        found = []
        for name, text, low, high in self._connection.execute(query):
            data = json.loads(text)
            found.append(Distribution(name, data["name"], data["attributes"], low, high))
        return found

    def trials(self, study: int, *, params_only: bool = False) -> Iterator[OptunaTrial]:
        """Yield the trials of a study by number, with a few hundred in memory at a time."""
        t = _trials
        query = (
            select(t.c.trial_id, t.c.number, t.c.state, t.c.datetime_start, t.c.datetime_complete)
            .where(t.c.study_id == study)
            .order_by(t.c.number)
            .limit(AT_ONCE)
        )
        after = -1
        while rows := self._connection.execute(query.where(t.c.number > after)).all():
            chunk = {
                row.trial_id: OptunaTrial(
                    row.number,
                    row.state,
                    _seconds(row.datetime_start),
                    _seconds(row.datetime_complete),
                )
                for row in rows
            }
            self._add_params(chunk)
            if not params_only:
                self._add_outcomes(chunk)
            yield from chunk.values()
            after = rows[-1].number

    def _add_params(self, chunk: dict[int, OptunaTrial]) -> None:
        p = _params
        query = select(p.c.trial_id, p.c.param_name, p.c.param_value, p.c.distribution_json)
        for trial, name, value, text in self._of(query.order_by(p.c.param_id), p, chunk):
            chunk[trial].params[name] = (value, text)

    def _add_outcomes(self, chunk: dict[int, OptunaTrial]) -> None:
        for trial, objective, value, kind in self._of(
            select(_values.c.trial_id, *_values.c["objective", "value", "value_type"]),
            _values, chunk,
        ):  # fmt: skip
            chunk[trial].values[objective] = _number(value, kind)
        steps = select(*_steps.c).order_by(_steps.c.step)
        for trial, step, value, kind in self._of(steps, _steps, chunk):
            chunk[trial].reports[step] = _number(value, kind)
        for whose, table in (
            ("user_attrs", _attributes["trial_user_attributes"]),
            ("system_attrs", _attributes["trial_system_attributes"]),
        ):
            for trial, key, text in self._of(select(*table.c), table, chunk):
                getattr(chunk[trial], whose)[key] = json.loads(text)

    def _of(self, query: Select[Any], table: Table, chunk: dict[int, OptunaTrial]) -> Sequence[Any]:
        return self._connection.execute(query.where(table.c.trial_id.in_(list(chunk)))).all()

    def _study(self, study: int, name: str) -> OptunaStudy:
        d = _directions
        query = select(d.c.direction).where(d.c.study_id == study).order_by(d.c.objective)
        directions = self._connection.execute(query).scalars()
        attrs = [
            {
                key: json.loads(text)
                for _, key, text in self._connection.execute(
                    select(*table.c).where(table.c.study_id == study)
                )
            }
            for table in (
                _attributes["study_user_attributes"],
                _attributes["study_system_attributes"],
            )
        ]
        return OptunaStudy(study, name, tuple(d.lower() for d in directions), *attrs)


def _engine(url: str) -> tuple[str, Any]:
    """Return the name of a database for messages, and an engine that reads it."""
    if not isinstance(url, str | os.PathLike):
        raise ForeignRecordError(
            f"optuna storage {url!r}: write an SQLAlchemy URL, or the path of a SQLite file"
        )
    url = os.fspath(url)
    remember(url)
    try:
        # A path is taken literally: '#', '?' and '%' in it are ordinary characters.
        parsed = make_url(url) if "://" in url else URL.create("sqlite", database=url)
    except (BadUrl, ValueError) as error:
        hide_in(error)
        raise ForeignRecordError(
            f"optuna storage {url!r} is no SQLAlchemy URL: {error}; write sqlite:///optuna.db or "
            f"postgresql://user@host/database"
        ) from error
    shown = hide(parsed.render_as_string(hide_password=True)) if "://" in url else repr(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        file = Path(parsed.database or "").expanduser().absolute()
        if not file.is_file():
            raise ForeignRecordError(f"optuna storage {shown}: there is no file {file}")
        # Opened read-only, because SQLite would create a missing file.
        connect = partial(sqlite3.connect, f"{file.as_uri()}?mode=ro", uri=True)
        return shown, create_engine("sqlite://", creator=connect, poolclass=NullPool)
    if backend in ("postgresql", "postgres"):
        try:
            return shown, create_engine(parsed.set(drivername="postgresql+psycopg"))
        except ImportError as error:
            raise MissingExtra(
                "reading PostgreSQL needs psycopg; run: pip install 'tuner[postgres]'"
            ) from error
    raise ForeignRecordError(
        f"optuna storage {shown}: SQLite and PostgreSQL are read; copy the study there with "
        f"optuna.copy_study"
    )


def _check_schema(connection: Connection, shown: str) -> None:
    tables = set(inspect(connection).get_table_names())
    if not {"studies", "trials", "version_info", "alembic_version"} <= tables:
        raise ForeignRecordError(f"optuna storage {shown} has no tables of Optuna 3 or later")
    version = Table("alembic_version", MetaData(), Column("version_num", String))
    revision = connection.execute(select(version.c.version_num)).scalar()
    if revision in REVISIONS:
        return
    info = Table("version_info", MetaData(), Column("library_version", String))
    library = connection.execute(select(info.c.library_version)).scalar()
    raise ForeignRecordError(
        f"optuna storage {shown} has the schema {revision} of Optuna {library}, read are "
        f"{', '.join(REVISIONS)}; an older one becomes readable by: optuna storage upgrade "
        f"--storage {shown}"
    )


def _seconds(moment: datetime | None) -> float | None:
    # Optuna records local time without a time zone.
    return None if moment is None else moment.timestamp()


def _number(value: float | None, kind: str) -> float:
    if kind == "INF_POS":
        return math.inf
    if kind == "INF_NEG":
        return -math.inf
    return math.nan if value is None else float(value)
