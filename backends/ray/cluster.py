"""Connect to the Ray cluster that workers run on, or start one, and restore it afterwards."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuner.backends.ray import local as ray_local
from tuner.backends.ray.auth import authenticate, read_settings_again
from tuner.backends.resources import local_cpus
from tuner.errors import BackendError

OBJECT_STORE = 256 * 2**20
"""Bytes of shared memory of a local Ray cluster for jobs and outcomes, which are small."""

REACH = 5.0
"""Timeout in seconds for a connection to the address of a cluster."""


@dataclass(slots=True)
class Cluster:
    """A Ray cluster that this process is connected to.

    If `own` is true, `leave` disconnects and restores the environment and the SIGTERM handler
    (None if it was not changed). `head` is the address at which the head node stores the cluster
    state. `folder` contains the token and the session of a cluster that was started here.
    """

    own: bool
    head: str = ""
    changed: Mapping[str, str | None] = field(default_factory=dict)
    on_sigterm: Any = None
    folder: Path | None = None

    def nodes(self) -> list[dict[str, float]]:
        """Return the resources of each live node under Ray's names."""
        import ray

        return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]

    def own_node(self) -> str:
        """Return Ray's id of the node that runs this process."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def head_answers(self) -> bool:
        """Whether the head address accepts connections; takes one second at most."""
        host, _, port = self.head.rpartition(":")
        if not port.isdigit():
            return True  # Ray Client: its own calls raise when the connection is lost
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
        except OSError:
            return False
        return True

    def leave(self) -> None:
        """Shut down a cluster that was started for this study; keep an existing one."""
        import ray

        if not self.own:
            return
        if ray.is_initialized():
            with _quiet():
                ray.shutdown()
        _show_notices(True)
        _put_back(self.changed, self.on_sigterm)
        if self.folder is not None:
            ray_local.remove(self.folder)
        self.own = False


def connect(
    address: str | None, runtime_env: Mapping[str, Any] | None = None, *, shared: int = 0
) -> Cluster:
    """Return the cluster of this process, of `address` or ``RAY_ADDRESS``, or a new local one.

    Parameters
    ----------
    address
        Address of the cluster, for ``ray.init``.
    runtime_env
        Runtime environment of all workers of this process; an existing connection ignores it.
    shared
        Bytes of the arrays that workers share, for which a new cluster reserves memory.

    Raises
    ------
    BackendError
        If Ray does not start, the address does not answer, or the cluster refuses the token.
    """
    import ray

    if ray.is_initialized():
        return Cluster(own=False, head=_head())
    local = will_be_local(address)
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address == "auto":
        address = ray_local.own_cluster()
    options: dict[str, Any] = {
        "runtime_env": dict(runtime_env) if runtime_env else None,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
    }
    before = dict(os.environ)
    on_sigterm = signal.getsignal(signal.SIGTERM) if _on_main_thread() else None
    folder = ray_local.private_folder() if local else None
    try:
        if folder is not None:
            ray_local.use_private_token(folder)
        elif _check_that_something_listens(address):
            authenticate(address)
        with _quiet():
            if folder is not None:
                options |= {"num_cpus": local_cpus(), "object_store_memory": _object_store(shared)}
                ray_local.start(folder, **options)
            else:
                ray.init(address=address, **options)
    except BaseException as error:
        _put_back(_changed_since(before), on_sigterm)
        if folder is not None:
            ray_local.remove(folder)
        if isinstance(error, BackendError) or not isinstance(error, Exception):
            raise
        # Ray raises ConnectionError, RuntimeError, ValueError, ...: all mean "no cluster".
        where = "on this machine" if local else f"at {address}"
        raise BackendError(
            f"Ray cannot be started or reached {where}: {error}; check the address, or write "
            f'backend="processes"'
        ) from error
    _show_notices(False)
    changed = _changed_since(before)
    return Cluster(own=True, head=_head(), changed=changed, on_sigterm=on_sigterm, folder=folder)


def ray_is_running() -> bool:
    """Whether this process is connected to a Ray cluster; does not import Ray to find out."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def _head() -> str:
    """Return the address of the cluster state on the head; empty if Ray Client hides it."""
    import ray
    from ray.util.client import ray as client

    if client.is_connected():
        return ""
    return str(ray.get_runtime_context().gcs_address)


def _object_store(shared: int) -> int:
    """Return the bytes of shared memory of a local cluster whose workers share `shared` bytes.

    If memory for all is not available, Ray keeps the arrays in files, which workers share as well.
    """
    wanted = OBJECT_STORE + shared + shared // 16
    folder = "/dev/shm" if sys.platform == "linux" else tempfile.gettempdir()
    return wanted if shutil.disk_usage(folder).free >= wanted else OBJECT_STORE


def will_be_local(address: str | None) -> bool:
    """Whether `connect` would start a local cluster."""
    return (address or os.environ.get("RAY_ADDRESS") or "local") == "local"


def _check_that_something_listens(address: str) -> bool:
    """Fail immediately if the address does not answer; Ray would retry for minutes.

    Return whether the address is ``host:port``, the address of the cluster itself.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return False  # "auto", or an address that Ray itself reports as wrong
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise BackendError(
            f"no Ray cluster answers at {address}: {error}; check the address, or leave it out "
            f"(and RAY_ADDRESS unset) to start one on this machine"
        ) from error
    return "://" not in address


def _changed_since(before: Mapping[str, str]) -> dict[str, str | None]:
    """Return the earlier values of variables that have changed or disappeared since."""
    now = dict(os.environ)
    return {n: before.get(n) for n in now.keys() | before.keys() if now.get(n) != before.get(n)}


def _put_back(changed: Mapping[str, str | None], on_sigterm: Any) -> None:
    _restore(changed)
    read_settings_again()  # otherwise the user's next Ray cluster would look for our token
    if on_sigterm is not None and _on_main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _show_notices(show: bool) -> None:
    """Switch Ray's messages about dead workers; `Lost` reports them, and Ray has no option."""
    from ray._private import worker

    if hasattr(worker, "_worker_logs_enabled"):
        worker._worker_logs_enabled = show


@contextmanager
def _quiet() -> Iterator[None]:
    """Start Ray without telemetry and banners, and with workers at normal priority."""
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "RAY_DEDUP_LOGS": "0",
        # In a submitted job, the settings of the script override the submission.
        "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",
        # Processes that the objective started end together with a killed worker.
        "RAY_process_group_cleanup_enabled": "true",
    }
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    before = {name: os.environ.get(name) for name in settings}
    os.environ |= {name: value for name, value in settings.items() if before[name] is None}
    try:
        yield
    finally:
        logger.setLevel(max(level, logging.ERROR))
        _restore(before)


def _restore(variables: Mapping[str, str | None]) -> None:
    """Restore these environment variables; None removes one."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
