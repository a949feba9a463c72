"""Starting the nodes of a cluster, each with the token that keeps strangers out.

Whoever may reach a Ray cluster may run code on it. Ray asks for a token only where
``RAY_AUTH_MODE=token`` is set on every node, so these starts set it. Their sockets and logs lie in
a folder that only the user who starts the node can enter.
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

from tuner.backends.ray_local import lasting_folder, session_folder
from tuner.backends.ray_tokens import (
    MODE,
    TOKEN,
    TOKEN_PATH,
    Answer,
    ask,
    close_to_others,
    find_token,
    make_token_file,
    obtain_token,
    token_file,
)
from tuner.errors import BackendError, MissingExtra

GCS_PORT, DASHBOARD_PORT = 6379, 8265

START = 180.0
"""Seconds within which Ray must have started a node."""

_DASHBOARD_NEEDS = ("aiohttp", "aiohttp_cors", "colorful", "opencensus", "prometheus_client")


@dataclass(frozen=True, slots=True)
class Head:
    """A head that was started: where it is, and where its token came from.

    `exposed_token` is whether other users could read the file of the token until now.
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
    """Return a head that can be started, and the command and environment that start it.

    Parameters
    ----------
    port
        Where other nodes and drivers find the cluster.
    dashboard_host, dashboard_port
        Where jobs are submitted; by default from the head itself, or by a tunnel to it.
    token
        The file of the token, made if it is not there; None for where Ray looks for it.
    ray_options
        What else `ray start` takes, such as ``["--num-cpus", "4"]``.

    Raises
    ------
    MissingExtra
        If what the dashboard needs is not installed.
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
        If there is no token here, it is not that of the cluster, or no cluster answers.
    """
    if token is not None and not token.is_file():
        raise BackendError(f"--token-file {token}: there is no such file; {obtain_token()}")
    if token is None and find_token() is None:
        raise BackendError(f"no token to join {address} with; {obtain_token()}")
    environment = _environment(token)
    if TOKEN_PATH in environment:
        close_to_others(Path(environment[TOKEN_PATH]))
    answer = ask(address, environment)
    if answer is Answer.REFUSED:
        place = environment.get(TOKEN_PATH, TOKEN)
        raise BackendError(f"{address} does not accept the token from {place}; {obtain_token()}")
    if answer is Answer.NO_CLUSTER:
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
        If it does not start; with what Ray says.
    """
    # Not pipes: what Ray leaves running may hold them open.
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
    """Become the node, which ends with this process: for systemd, a container, a test."""
    os.execve(command[0], [*command, "--block"], dict(environment))


def need_dashboard() -> None:
    """Refuse to go on without what the dashboard and its job API need.

    Raises
    ------
    MissingExtra
        If a package of it is not installed.
    """
    # Of a module that is loaded, find_spec may raise: `colorful` puts an object in its place.
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
    """Return the environment of a node, which those of its workers and jobs descend from."""
    environment = dict(os.environ)
    environment[MODE] = "token"
    if token is not None:
        environment[TOKEN] = ""
        environment[TOKEN_PATH] = str(token.expanduser().absolute())
    elif not environment.get(TOKEN):
        environment[TOKEN_PATH] = str(token_file().absolute())
    # The `python` of a job's entrypoint is to be the one that Ray and tuner are installed in.
    here = str(Path(sys.executable).parent)
    if environment.get("PATH", "").split(os.pathsep)[0] != here:
        environment["PATH"] = os.pathsep.join(filter(None, [here, environment.get("PATH")]))
    return environment
