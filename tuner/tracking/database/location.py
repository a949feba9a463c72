"""The location of a store: its database, its artifact folder, and the kind of its file system."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError as BadUrl

from tuner.errors import ArgumentError, StoreCorrupt, StoreError
from tuner.errors.boundary import translated
from tuner.errors.credentials import hide, hide_in, remember
from tuner.errors.printable import well_formed

DEFAULT_FOLDER = ".tuner"
DATABASE = "tuner.db"
ARTIFACTS = "artifacts"

_MISSPELLED = re.compile(r"(postgres(ql)?|mysql|mariadb|oracle|mssql)(\+\w+)?(:|//)|sqlite:/")
"""A mistyped URL, such as ``postgresql:/host/db``, which is unlikely to be meant as a path."""


@dataclass(frozen=True, slots=True)
class Location:
    """A database, and the folder of the artifacts that it records.

    `file` is the database file of SQLite, None for a server. `artifact_url` replaces the folder if
    the environment variable ``TUNER_ARTIFACTS`` is a URL. `own_artifacts` is whether the folder is
    relative to the working directory of this process, though the database is on a server: other
    processes may have another one.
    """

    url: URL
    artifact_root: Path
    file: Path | None = None
    artifact_url: str | None = field(default_factory=lambda: _artifact_url())

    own_artifacts: bool = False

    def __str__(self) -> str:
        """Return the name for messages, without credentials."""
        return str(self.file) if self.file else hide(self.url.render_as_string(hide_password=True))

    def __repr__(self) -> str:
        kept = self.artifact_root if self.artifact_url is None else hide(self.artifact_url)
        return f"<Location {self}, artifacts in {kept}>"


def locate(store: str | Path | None) -> Location:
    """Return the location of `store`.

    Parameters
    ----------
    store
        An SQLAlchemy URL of SQLite or PostgreSQL, a folder, a SQLite file, or None for the
        environment variable ``TUNER_STORE``, else for ``./.tuner``.

    Raises
    ------
    ArgumentError
        If it is none of these types.
    StoreError
        If the path is not a regular file, or this user is not permitted to inspect it.
    """
    if store is None:
        store = os.environ.get("TUNER_STORE") or DEFAULT_FOLDER
    if not isinstance(store, str | os.PathLike):
        raise ArgumentError(
            f"store={store!r}: write a folder, an SQLAlchemy URL such as "
            f"'postgresql://user@host/tuner', or None for ./{DEFAULT_FOLDER}"
        )
    text = os.fspath(store)
    if not isinstance(text, str):
        raise ArgumentError(f"store={text!r}: write a path as str or pathlib.Path, not as bytes")
    remember(text)
    remember(os.environ.get("TUNER_ARTIFACTS", ""))
    if "\0" in text:
        raise ArgumentError(f"store={text!r}: a path or URL cannot have a NUL character")
    if text != well_formed(text):
        raise ArgumentError(
            f"store={text!r}: the name is not valid UTF-8; rename the folder, or give the path of "
            f"a symbolic link to it"
        )
    with translated(f"store={text!r}", files=StoreError):
        location = _of_url(text) if "://" in text else _of_path(text)
        if location.file is not None:
            _check_kind(location.file)
    return location


def _of_path(text: str) -> Location:
    if _MISSPELLED.match(text):
        raise ArgumentError(
            f"store={text!r} is neither a folder nor an SQLAlchemy URL; write "
            f"postgresql://user@host/database, or ./{text} for a folder of that name"
        )
    path = _absolute(text)
    file = path if path.exists() and not path.is_dir() else path / DATABASE
    return Location(URL.create("sqlite", database=str(file)), file.parent / ARTIFACTS, file)


def _absolute(text: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise ArgumentError(
            f"store={text!r}: there is no such home folder; write a whole path"
        ) from error


def _check_kind(file: Path) -> None:
    """Refuse a path that cannot be a database: opening a FIFO would wait forever."""
    try:
        mode = file.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, FIFO or socket"
        raise StoreCorrupt(
            f"store file {str(file)!r} is {kind}; write a folder for a store with the file "
            f"{DATABASE} in it, or the path of a SQLite file"
        )


def _of_url(text: str) -> Location:
    try:
        url = make_url(text)
    except (BadUrl, ValueError) as error:
        hide_in(error)
        raise ArgumentError(f"store={text!r} is no SQLAlchemy URL: {error}") from error
    if url.port is not None and not 0 < url.port < 65536:
        raise ArgumentError(f"store={text!r}: a port is a number from 1 to 65535")
    backend = url.get_backend_name()
    if backend in ("postgresql", "postgres"):
        given = None if _artifact_url() else os.environ.get("TUNER_ARTIFACTS")
        folder = given or Path(DEFAULT_FOLDER, ARTIFACTS)
        root = Path(folder).expanduser().absolute()
        url = url.set(drivername="postgresql+psycopg")
        own = not _artifact_url() and not Path(folder).expanduser().is_absolute()
        return Location(url, root, own_artifacts=own)
    if backend != "sqlite":
        raise ArgumentError(
            f"store={url.render_as_string()!r}: tuner keeps its record in SQLite or PostgreSQL; "
            f"write sqlite:///file.db or postgresql://user@host/database"
        )
    if url.host:
        raise ArgumentError(
            f"store={text!r}: a SQLite file has no host; write sqlite:///relative.db or "
            f"sqlite:////absolute/path.db"
        )
    database = url.database or ""
    if database.removeprefix("file:") in ("", ":memory:") or "mode=memory" in text:
        raise ArgumentError(
            f"store={text!r} is gone when the process ends; "
            f"write a folder, such as tempfile.mkdtemp()"
        )
    file = _absolute(database.removeprefix("file:"))
    url = url.set(drivername="sqlite")
    prefix = "file:" if database.startswith("file:") else ""
    return Location(url.set(database=f"{prefix}{file}"), file.parent / ARTIFACTS, file)


def _artifact_url() -> str | None:
    given = os.environ.get("TUNER_ARTIFACTS", "")
    return given if "://" in given else None


_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|ceph|lustre|gpfs|beegfs|glusterfs|orangefs|pvfs2|ncpfs|"
    r"fuse\.(sshfs|s3fs|gcsfuse|goofys|rclone|glusterfs|ceph|davfs.*|juicefs|beegfs.*)"
)
"""File systems without locks, or with locks that other machines may not see."""


class Mount(Protocol):
    """A mounted file system, as psutil returns it."""

    mountpoint: str
    fstype: str


def network_file_system(path: Path, mounts: Iterable[Mount] | None = None) -> str | None:
    """Return the type of the network file system of a path; None if it is local.

    Parameters
    ----------
    path
        The path; it need not exist.
    mounts
        The mounted file systems in the order of mounting; None reads them from this machine.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> mounts = [SimpleNamespace(mountpoint="/home", fstype="nfs4")]
    >>> network_file_system(Path("/home/ada/.tuner/tuner.db"), mounts)
    'nfs4'
    >>> network_file_system(Path("/var/tuner.db"), mounts)
    """
    if mounts is None:
        import psutil

        path = Path(os.path.realpath(path))
        try:
            mounts = psutil.disk_partitions(all=True)
        except OSError:  # such as a system without /proc
            return None
    around = [mount for mount in mounts if path.is_relative_to(mount.mountpoint)]
    # Of several mounts on the same place, the last one is visible.
    innermost = max(reversed(around), key=lambda m: len(m.mountpoint), default=None)
    return innermost.fstype if innermost and _NETWORK.fullmatch(innermost.fstype) else None
