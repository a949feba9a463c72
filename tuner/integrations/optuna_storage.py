"""Read-only access to Optuna's storages."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError as BadUrl
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from tuner.errors import ForeignRecordError, MissingExtra, TunerError
from tuner.errors.boundary import translated
from tuner.errors.credentials import hide, hide_in, remember
from tuner.optimizers.optuna_adapter import quiet

_READABLE = "v3.0.0.d"
"""A revision of Optuna's schema, of Optuna 3.0 and 3.1, that differs in an index only."""

_READ_ONLY: dict[str, dict[str, Any]] = {
    "postgresql": {"execution_options": {"postgresql_readonly": True}},
    "mysql": {"connect_args": {"init_command": "SET SESSION TRANSACTION READ ONLY"}},
}
"""Arguments of ``create_engine`` under which a server refuses to write."""


@contextmanager
def reading(storage: str | os.PathLike[str] | BaseStorage) -> Iterator[tuple[str, BaseStorage]]:
    """Open an Optuna storage; yield its name for messages, and the storage.

    Parameters
    ----------
    storage
        An SQLAlchemy URL, the path of a SQLite or journal file, or a storage object of Optuna.

    Raises
    ------
    ForeignRecordError
        If the storage does not exist, is not Optuna's, is damaged, or has an unknown schema.
    MissingExtra
        If the driver of the database is not installed.
    """
    shown = _shown(storage)
    with (
        translated(f"optuna storage {shown}", files=ForeignRecordError, data=ForeignRecordError),
        _as_foreign(shown),
        quiet(),
    ):
        if isinstance(storage, BaseStorage):
            yield shown, storage
            return
        opened = _open(os.fspath(storage), shown)
        try:
            yield shown, opened
        finally:
            if isinstance(opened, RDBStorage):
                opened.remove_session()
                opened.engine.dispose()


def _shown(storage: Any) -> str:
    if isinstance(storage, BaseStorage):
        return type(storage).__name__
    if not isinstance(storage, str | os.PathLike):
        raise ForeignRecordError(
            f"optuna storage {storage!r}: pass an SQLAlchemy URL, the path of a SQLite or journal "
            f"file, or an Optuna storage"
        )
    text = os.fspath(storage)
    remember(text)
    return hide(text) if "://" in text else repr(text)


@contextmanager
def _as_foreign(shown: str) -> Iterator[None]:
    try:
        yield
    except TunerError:  # some are also a RuntimeError
        raise
    except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
        raise ForeignRecordError(
            f"optuna storage {shown} cannot be read: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> object:
    """Return the message of the database, if any; hide credentials in all messages."""
    hide_in(error)
    cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
    return getattr(cause, "orig", None) or cause


def _open(storage: str, shown: str) -> BaseStorage:
    if "://" in storage:
        url = _url(storage)
        if url.get_backend_name() != "sqlite":
            return _server(url, shown)
        storage = url.database or ""
    # A path is taken literally: '#', '?' and '%' in it are ordinary characters.
    file = Path(storage).expanduser().absolute()
    if not file.is_file():
        raise ForeignRecordError(f"optuna storage {shown}: the file {file} does not exist")
    with file.open("rb") as opened:
        is_journal = opened.read(1) == b"{"
    if is_journal:
        return JournalStorage(JournalFileBackend(str(file)))
    connect = partial(sqlite3.connect, f"{file.as_uri()}?mode=ro", uri=True)
    return _tables("sqlite://", shown, creator=connect, poolclass=NullPool)


def _url(text: str) -> URL:
    try:
        return make_url(text)
    except (BadUrl, ValueError) as error:
        hide_in(error)
        raise ForeignRecordError(
            f"optuna storage {text!r} is not an SQLAlchemy URL: {error}; write "
            f"sqlite:///optuna.db or postgresql://user@host/database"
        ) from error


def _server(url: URL, shown: str) -> RDBStorage:
    backend = url.get_backend_name()
    if url.drivername in ("postgresql", "postgres"):
        url, backend = url.set(drivername="postgresql+psycopg"), "postgresql"
    if backend not in _READ_ONLY:
        raise ForeignRecordError(
            f"optuna storage {shown}: URLs of SQLite, PostgreSQL and MySQL are read; pass another "
            f"storage as Optuna's object, such as JournalStorage(JournalRedisBackend(...))"
        )
    text = url.render_as_string(hide_password=False)
    # Optuna formats the URL.
    return _tables(text.replace("{", "{{").replace("}", "}}"), shown, **_READ_ONLY[backend])


def _tables(url: str, shown: str, **engine: Any) -> RDBStorage:
    try:
        storage = RDBStorage(
            url, engine_kwargs=engine, skip_compatibility_check=True, skip_table_creation=True
        )
        revision = storage.get_current_version()
    except ImportError as error:
        raise MissingExtra(
            f"optuna storage {shown}: its database driver is not installed ({error.__cause__}); "
            f"run pip install 'tuner[postgres]' for PostgreSQL, pip install PyMySQL for MySQL"
        ) from error
    except optuna.exceptions.StorageInternalError as error:
        raise ForeignRecordError(
            f"optuna storage {shown} cannot be read, or lacks tables of Optuna: {_reason(error)}"
        ) from error
    if revision not in (_READABLE, storage.get_head_version()):
        storage.engine.dispose()
        raise ForeignRecordError(
            f"optuna storage {shown} has schema {revision}, which Optuna {optuna.__version__} "
            f"cannot read; upgrade an older one by: optuna storage upgrade --storage {shown}"
        )
    return storage
