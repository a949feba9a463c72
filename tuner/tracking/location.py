"""Where a store lies: its database and its artifact folder."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError as BadUrl

from tuner.errors import ArgumentError

DEFAULT_FOLDER = ".tuner"
DATABASE = "tuner.db"
ARTIFACTS = "artifacts"


@dataclass(frozen=True, slots=True)
class Location:
    """A database, and the folder of the artifacts that it records.

    `file` is the database file of SQLite, None for a server. `artifact_url` is where artifacts are
    kept instead of in the folder, if the environment variable ``TUNER_ARTIFACTS`` is a URL.
    """

    url: URL
    artifact_root: Path
    file: Path | None = None
    artifact_url: str | None = field(default_factory=lambda: _artifact_url())

    def __str__(self) -> str:
        """What to call it in a message: without a password."""
        return str(self.file) if self.file else self.url.render_as_string(hide_password=True)


def locate(store: str | Path | None) -> Location:
    """Return where `store` lies.

    Parameters
    ----------
    store
        An SQLAlchemy URL of SQLite or PostgreSQL, a folder, a SQLite file, or None for the
        environment variable ``TUNER_STORE``, else for ``./.tuner``.

    Raises
    ------
    ArgumentError
        If it is none of these.
    """
    if store is None:
        store = os.environ.get("TUNER_STORE") or DEFAULT_FOLDER
    if not isinstance(store, str | os.PathLike):
        raise ArgumentError(
            f"store={store!r}: write a folder, an SQLAlchemy URL such as "
            f"'postgresql://user@host/tuner', or None for ./{DEFAULT_FOLDER}"
        )
    text = os.fspath(store)
    if "://" in text:
        return _of_url(text)
    path = Path(text).expanduser().absolute()
    file = path if path.is_file() else path / DATABASE
    return Location(URL.create("sqlite", database=str(file)), file.parent / ARTIFACTS, file)


def _of_url(text: str) -> Location:
    try:
        url = make_url(text)
    except (BadUrl, ValueError) as error:
        raise ArgumentError(f"store={text!r} is no SQLAlchemy URL: {error}") from error
    backend = url.get_backend_name()
    if backend in ("postgresql", "postgres"):
        given = None if _artifact_url() else os.environ.get("TUNER_ARTIFACTS")
        folder = given or Path(DEFAULT_FOLDER, ARTIFACTS)
        root = Path(folder).expanduser().absolute()
        return Location(url.set(drivername="postgresql+psycopg"), root)
    if backend != "sqlite":
        raise ArgumentError(
            f"store={url.render_as_string()!r}: tuner keeps its record in SQLite or PostgreSQL; "
            f"write sqlite:///file.db or postgresql://user@host/database"
        )
    database = url.database or ""
    if database in ("", ":memory:") or "mode=memory" in text:
        raise ArgumentError(
            f"store={text!r} is gone when the process ends; "
            f"write a folder, such as tempfile.mkdtemp()"
        )
    file = Path(database.removeprefix("file:")).expanduser().absolute()
    prefix = "file:" if database.startswith("file:") else ""
    return Location(url.set(database=f"{prefix}{file}"), file.parent / ARTIFACTS, file)


def _artifact_url() -> str | None:
    given = os.environ.get("TUNER_ARTIFACTS", "")
    return given if "://" in given else None
