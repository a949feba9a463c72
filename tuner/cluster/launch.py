"""Start the nodes of a cluster with token authentication.

Everyone who can reach a Ray cluster can run code on it. Ray requires a token only if
``RAY_AUTH_MODE=token`` is set on every node, so these functions set it. Sockets and logs are in a
folder that only the user who starts the node can enter.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tuner.backends.ray.auth import (
    MODE,
    TOKEN,
    TOKEN_PATH,
    ProbeResult,
    close_to_others,
    find_token,
    make_token_file,
    probe,
    token_file,
    token_remedy,
)
from tuner.backends.ray.local import lasting_folder, session_folder
from tuner.errors import BackendError, MissingExtra

GCS_PORT, DASHBOARD_PORT = 6379, 8265

START = 180.0
"""Seconds within which Ray must have started a node."""

_DASHBOARD_NEEDS = ("aiohttp", "aiohttp_cors", "colorful", "opencensus", "prometheus_client")


@dataclass(frozen=True, slots=True)
class Head:
    """A head that was started: its addresses and the source of its token.

    `exposed_token` is whether other users could read the token file until now.
    """

    address: str
    dashboard: str
    token: str
    new_token: bool
    exposed_token: bool = False


def start_head(
    *,
    port: int = GCS_PORT,
    dashboard_host: str = "127.0.0.1",
    dashboard_port: int = DASHBOARD_PORT,
    token: Path | None = None,
    ray_options: Sequence[str] = (),
) -> tuple[Head, list[str], dict[str, str]]:
    """Return a head that is ready to start, with the command and environment to start it.

    Parameters
    ----------
    port
        Port of the cluster for other nodes and drivers.
    dashboard_host, dashboard_port
        Address for job submission; by default only the head itself, or a tunnel to it, reaches it.
    token
        The token file, created if it does not exist; None for Ray's default location.
    ray_options
        Further options of `ray start`, such as ``["--num-cpus", "4"]``.

    Raises
    ------
    MissingExtra
        If a dependency of the dashboard is not installed.
    BackendError
        If the token cannot be written or read.
    """
    need_dashboard()
    made = exposed = False
    if token is not None or not os.environ.get(TOKEN):
        path = token or token_file()
        exposed = path.exists() and close_to_others(path)
        made = make_token_file(path)
    environment = _environment(token)
    from ray.util import get_node_ip_address

    head = Head(
        f"{get_node_ip_address()}:{port}",
        f"http://{dashboard_host}:{dashboard_port}",
        environment.get(TOKEN_PATH, TOKEN),
        made,
        exposed,
    )
    command = [
        *("--head", "--port", str(port), "--include-dashboard", "true"),
        *("--dashboard-host", dashboard_host, "--dashboard-port", str(dashboard_port)),
    ]
    return head, _ray_start(command, ray_options), environment


def join(
    address: str, *, token: Path | None = None, ray_options: Sequence[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """Return the command and environment that make this machine a node of a cluster.

    Raises
    ------
    BackendError
        If no token is found, the cluster refuses it, or no cluster answers.
    """
    if token is not None and not token.is_file():
        raise BackendError(f"--token-file {token} does not exist; {token_remedy()}")
    if token is None and find_token() is None:
        raise BackendError(f"no token to join {address} with; {token_remedy()}")
    environment = _environment(token)
    if TOKEN_PATH in environment:
        close_to_others(Path(environment[TOKEN_PATH]))
    answer = probe(address, environment)
    if answer is ProbeResult.REFUSED:
        place = environment.get(TOKEN_PATH, TOKEN)
        raise BackendError(f"{address} does not accept the token from {place}; {token_remedy()}")
    if answer is ProbeResult.NO_CLUSTER:
        raise BackendError(
            f"no Ray cluster answers at {address}; write the address that `tuner cluster start` "
            f"printed on the head, and let its port through the firewall"
        )
    return _ray_start(["--address", address], ray_options), environment


def run_in_background(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Start a node and leave it running; it ends with `ray stop`.

    Raises
    ------
    BackendError
        If it does not start; the message includes Ray's output.
    """
    # No pipes: processes that Ray leaves running may hold them open.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        try:
            done = subprocess.run(
                command, env=dict(environment), stdout=said, stderr=said, timeout=START
            )
        except subprocess.TimeoutExpired:
            raise BackendError(f"Ray has not started this node within {START:g} s") from None
        said.seek(0)
        lines = said.read().strip().splitlines()
    if done.returncode != 0:
        raise BackendError(f"Ray cannot start this node: {' '.join(lines[-3:])}")


def become(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by the node, for systemd, a container or a test."""
    os.execve(command[0], [*command, "--block"], dict(environment))


def need_dashboard() -> None:
    """Check that the dependencies of the dashboard and its job API are installed.

    Raises
    ------
    MissingExtra
        If a package is not installed.
    """
    # find_spec may raise for a loaded module: `colorful` replaces its module by an object.
    missing = [
        name
        for name in _DASHBOARD_NEEDS
        if name not in sys.modules and importlib.util.find_spec(name) is None
    ]
    if missing:
        raise MissingExtra(
            f"jobs are submitted to Ray's dashboard, which needs {', '.join(missing)}; "
            f"pip install 'tuner[cluster]'"
        )


def _ray_start(command: Sequence[str], more: Sequence[str]) -> list[str]:
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats"]
    if not any(word.partition("=")[0] == "--temp-dir" for word in more):
        # By default Ray keeps its sockets and logs in /tmp/ray, which everyone may write to.
        start += ["--temp-dir", session_folder(lasting_folder())]
    return [*start, *command, *more]


def _environment(token: Path | None) -> dict[str, str]:
    """Return the environment of a node; its workers and jobs inherit it."""
    environment = dict(os.environ)
    environment[MODE] = "token"
    if token is not None:
        environment[TOKEN] = ""
        environment[TOKEN_PATH] = str(token.expanduser().absolute())
    elif not environment.get(TOKEN):
        environment[TOKEN_PATH] = str(token_file().absolute())
    # The `python` of a job's entrypoint must be the one with Ray and tuner installed.
    here = str(Path(sys.executable).parent)
    if environment.get("PATH", "").split(os.pathsep)[0] != here:
        environment["PATH"] = os.pathsep.join(filter(None, [here, environment.get("PATH")]))
    return environment
