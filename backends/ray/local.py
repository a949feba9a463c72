"""A local Ray cluster that only the user who starts it can use.

Ray executes all code sent to it, as the user who started it. A cluster that is started here is
closed to other users and machines in three ways:

- It has a new token, in a file that only this user can read. Every request without it is refused,
  independent of the user's other tokens and of Ray's default.
- Its ports listen on the loopback interface only. Its metrics page, which needs no token, is not
  served, and neither are the pages of the dashboard and the autoscaler, which are not started.
- Its session folder, with the sockets of the raylet and of the object store, the logs and the
  copies of the working directory, is inside a folder that only this user can enter. Ray's default
  is below ``/tmp/ray``, writable by everyone.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tuner.backends.ray.auth import (
    MODE,
    TOKEN,
    TOKEN_PATH,
    is_private_place,
    make_token_file,
    read_settings_again,
)
from tuner.errors import BackendError

LOOPBACK = "127.0.0.1"

PREFIX, LASTING = "tuner-ray-", "tuner-cluster-"
"""Prefixes of private folders: of the cluster of one process, and of persistent nodes."""

LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
"""Maximum length of the path of a Unix socket, in characters."""

_UNUSED = ("start_monitor", "start_log_monitor", "start_api_server")
"""Methods of Ray's `Node` that start the autoscaler, the reader of logs and the dashboard."""

_BELOW = "/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.99"
"""The longest socket path below a private folder."""


def private_folder(prefix: str = PREFIX) -> Path:
    """Create a folder that only this user can enter, with a path short enough for sockets.

    Its parent is the first of ``RAY_TMPDIR``, Python's folder for temporary files and ``/tmp``
    in which other users cannot rename entries.

    Raises
    ------
    BackendError
        If none of them qualifies.
    """
    places = [os.environ.get("RAY_TMPDIR"), tempfile.gettempdir(), "/tmp"]
    for place in filter(None, places):
        length = len(os.fsencode(f"{Path(place).absolute()}/{prefix}XXXXXXXX{_BELOW}"))
        if length > LONGEST_SOCKET or not is_private_place(Path(place)):
            continue
        try:
            return Path(tempfile.mkdtemp(prefix=prefix, dir=Path(place).absolute()))
        except OSError:
            continue  # full, read-only, ...
    raise BackendError(
        f"Ray needs a folder with a short path that other users cannot modify; none of "
        f"{', '.join(map(repr, filter(None, places)))} qualifies: set RAY_TMPDIR to one that does"
    )


def lasting_folder() -> Path:
    """Return a private folder for a node that outlives this process, the same at each start.

    Raises
    ------
    BackendError
        If none can be made.
    """
    place = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()).absolute()
    path = place / f"{LASTING}{os.getuid()}"
    if len(os.fsencode(f"{path}{_BELOW}")) > LONGEST_SOCKET or not is_private_place(place):
        return private_folder(LASTING)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            path.chmod(0o700)
            return path
    except OSError:
        pass
    return private_folder(LASTING)  # another user took the name


def session_folder(folder: Path) -> str:
    """Return the temporary folder for Ray, which Ray itself makes accessible to everyone."""
    return str(folder / "r")


def use_private_token(folder: Path) -> None:
    """Make this process, and the Ray that it starts, require and send a new token in `folder`."""
    path = folder / "token"
    make_token_file(path)
    os.environ.pop(TOKEN, None)
    os.environ[MODE] = "token"
    os.environ[TOKEN_PATH] = str(path)
    read_settings_again()


def start(folder: Path, **options: Any) -> None:
    """Start a Ray cluster in a private `folder`, closed to all other users.

    Ray gives up after half a minute, which a loaded machine may exceed; then it is tried once more.
    Call `use_private_token` first. `options` are passed to ``ray.init``.
    """
    try:
        _start(folder, **options)
    except Exception as error:
        if not _is_timeout(error):
            raise
        _start(folder, **options)


def _start(folder: Path, **options: Any) -> None:
    """Start Ray; if it fails, end the processes that it has started."""
    import ray

    try:
        with _on_loopback(), without_unused_processes():
            ray.init(
                address="local",
                include_dashboard=False,
                _node_ip_address=LOOPBACK,
                _temp_dir=session_folder(folder),
                _system_config={"enable_metrics_collection": False},
                **options,
            )
    except BaseException:
        ray.shutdown()
        _end_processes(folder)
        raise


def _is_timeout(error: Exception) -> bool:
    """Whether Ray gave up waiting for its own processes; it has no exception type for this."""
    return isinstance(error, TimeoutError) or "timed out" in str(error).lower()


def _end_processes(folder: Path) -> None:
    """Kill the processes of a cluster in `folder`; Ray leaves them after a failed start."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any(str(folder) in word for word in process.cmdline()):
                process.kill()


def remove(folder: Path) -> None:
    """Delete the folder of a cluster that ended; its last processes may still write into it."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)


def own_cluster() -> str:
    """Return the address of the cluster that this machine is a node of, for ``address="auto"``.

    Ray takes any process called raylet for a node. A process of another user may lead to a
    cluster of that user, which would get the token and answer with pickles that run code. Only
    nodes of this user and of root count here, except the private cluster of one process.

    Raises
    ------
    BackendError
        If no such cluster exists.
    """
    import psutil

    named = os.environ.get("RAY_ADDRESS")
    if named and named not in ("auto", "local"):
        return named
    newest, address, other_users = 0.0, "", set()
    for process in psutil.process_iter(["cmdline", "uids", "create_time", "username"]):
        words = process.info["cmdline"] or [""]
        gcs = next((w.partition("=")[2] for w in words if w.startswith("--gcs-address=")), "")
        if Path(words[0]).name != "raylet" or not gcs or any(f"/{PREFIX}" in w for w in words):
            continue
        if process.info["uids"].effective not in (0, os.getuid()):
            other_users.add(str(process.info["username"]))
        elif process.info["create_time"] > newest:
            newest, address = process.info["create_time"], gcs
    if address:
        return address
    theirs = f" (only for {', '.join(sorted(other_users))})" if other_users else ""
    raise BackendError(
        f'address="auto": no node of your Ray cluster runs on this machine{theirs}; write the '
        f"address of the cluster, as HEAD:6379"
    )


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Make Ray use the loopback address as the address of this machine.

    ``ray.init(_node_ip_address="127.0.0.1")`` alone looks for an address that others can reach.
    Only where clusters of several machines are off, as by default on macOS and Windows, does Ray
    use the loopback address, and all its processes then listen there only.
    """
    from ray._private import ray_constants

    before = getattr(ray_constants, "ENABLE_RAY_CLUSTER", None)
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def without_unused_processes() -> Iterator[None]:
    """Make ``ray.init`` start a cluster without three processes that a local search never asks.

    One machine does not scale, the driver does not print the logs of workers, and no page is
    served. ``ray.init`` has no options for it. The start then takes two thirds of the time, and
    the end a tenth.
    """
    from ray._private.node import Node

    before = {name: getattr(Node, name) for name in _UNUSED if hasattr(Node, name)}
    for name in before:
        setattr(Node, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(Node, name, method)
