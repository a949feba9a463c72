"""A client of Ray's job API: submit a driver to a cluster, follow its output and stop it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tuner.backends.ray.auth import find_token, token_remedy
from tuner.cluster.launch import need_dashboard
from tuner.errors import ArgumentError, BackendError

DEFAULT_ADDRESS = "http://127.0.0.1:8265"

PATIENCE = 120.0
"""Seconds of retries if a dashboard stops answering."""

PAUSE = 1.0
"""Seconds between two status requests of a job."""

_CHATTY = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)

_OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


@dataclass(frozen=True, slots=True)
class JobEnd:
    """The end of a job: Ray's status, the exit code (0 for success), and the reason."""

    status: str
    exit_code: int
    message: str


class JobClient:
    """The jobs of one cluster.

    Parameters
    ----------
    address
        The dashboard: ``"http://host:8265"``; None for ``RAY_API_SERVER_ADDRESS``, else for this
        machine's.

    Raises
    ------
    MissingExtra
        If Ray's dashboard is not installed here.
    BackendError
        If the address does not answer, or the cluster refuses the token.
    """

    def __init__(self, address: str | None = None) -> None:
        need_dashboard()
        self.address = dashboard_address(address)
        self._client = _connected(self.address)

    def submit(
        self, entrypoint: str, runtime_env: Mapping[str, Any], *, name: str | None = None
    ) -> str:
        """Submit a command with its files, and return the job's name.

        Raises
        ------
        BackendError
            If the cluster rejects it.
        """
        with _as_ours(self.address):
            job: str = self._client.submit_job(
                entrypoint=entrypoint, runtime_env=dict(runtime_env), submission_id=name
            )
        return job

    def follow(self, job: str, write: Callable[[str], None]) -> JobEnd:
        """Forward the output of a job until it ends, reconnecting after lost connections.

        Raises
        ------
        BackendError
            If the job is unknown, or the cluster has not answered for two minutes.
        """
        self.end(job)  # do not mistake an unknown job for a lost connection
        heard, lost_since = 0, None
        while True:
            try:
                heard = asyncio.run(self._listen(job, heard, write))
                end = self.end(job)
                if end is not None:
                    return end
                lost_since = None
            except (_ConnectionLost, BackendError) as error:
                heard = max(heard, getattr(error, "heard", 0))
                lost_since = lost_since or time.monotonic()
                if time.monotonic() - lost_since > PATIENCE:
                    raise BackendError(
                        f"{self.address} has not answered for {PATIENCE:g} s; job {job} may go on: "
                        f"`tuner job follow {job} --address {self.address}` listens again"
                    ) from error
            time.sleep(PAUSE)

    async def _listen(self, job: str, heard: int, write: Callable[[str], None]) -> int:
        """Write the job's output after the first `heard` characters; return its total length.

        The stream begins with the first character each time.
        """
        place = 0
        try:
            async for text in self._client.tail_job_logs(job):
                write(text[max(0, heard - place) :])
                place += len(text)
        except (RuntimeError, OSError, _http_error()) as error:
            raise _ConnectionLost(max(heard, place)) from error
        return max(heard, place)

    def end(self, job: str) -> JobEnd | None:
        """Return how a job ended, or None while it waits or runs.

        Raises
        ------
        BackendError
            If the job is unknown.
        """
        with _as_ours(self.address):
            info = self._client.get_job_info(job)
        if not info.status.is_terminal():
            return None
        code = info.driver_exit_code
        if info.status == "SUCCEEDED":
            code = 0
        elif code is not None and code < 0:
            code = 128 - code  # the shell convention for a process that a signal ended
        return JobEnd(str(info.status.value), code or int(info.status != "SUCCEEDED"), info.message)

    def stop(self, job: str) -> bool:
        """Ask a job to end: SIGTERM, then SIGKILL; return False if it had ended.

        Raises
        ------
        BackendError
            If the job is unknown.
        """
        with _as_ours(self.address):
            return bool(self._client.stop_job(job))

    def list(self) -> list[dict[str, Any]]:
        """Return the submitted jobs, oldest first: name, status, start and end, entrypoint."""
        with _as_ours(self.address):
            jobs = [job for job in self._client.list_jobs() if job.submission_id]
        return [
            {
                "job": job.submission_id,
                "status": str(job.status.value),
                "started": None if job.start_time is None else job.start_time / 1000,
                "ended": None if not job.end_time else job.end_time / 1000,
                "entrypoint": job.entrypoint,
            }
            for job in sorted(jobs, key=lambda job: job.start_time or 0)
        ]


class _ConnectionLost(Exception):
    def __init__(self, heard: int) -> None:
        super().__init__(heard)
        self.heard = heard


def dashboard_address(address: str | None) -> str:
    """Return the address of a dashboard with its scheme.

    Raises
    ------
    ArgumentError
        If it is not a dashboard address.

    Examples
    --------
    >>> dashboard_address("head:8265")
    'http://head:8265'
    """
    address = address or os.environ.get("RAY_API_SERVER_ADDRESS") or DEFAULT_ADDRESS
    scheme, separator, rest = address.rpartition("://")
    if not separator:
        scheme = "http"
    if scheme not in ("http", "https") or not rest or rest == "auto":
        raise ArgumentError(
            f"--address {address}: jobs are submitted to the dashboard; write its address, such "
            f"as http://HEAD:8265"
        )
    return f"{scheme}://{rest.rstrip('/')}"


def _connected(address: str) -> Any:
    """Return Ray's client; send the token only to a cluster that asks for it."""
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Ray prefers these variables to an explicit address.
    kept = {name: os.environ.pop(name) for name in _OVERRIDES if name in os.environ}
    try:
        with _as_ours(address):
            try:
                return JobSubmissionClient(address)
            except AuthenticationError:
                token = find_token()
                if token is None:
                    raise BackendError(
                        f"the cluster at {address} asks for a token; {token_remedy()}"
                    ) from None
            try:
                headers = {"Authorization": f"Bearer {token.text}"}
                return JobSubmissionClient(address, headers=headers)
            except AuthenticationError:
                raise BackendError(
                    f"the cluster at {address} does not accept the token from {token.place}, "
                    f"which belongs to another cluster; {token_remedy()}"
                ) from None
    finally:
        os.environ |= kept


@contextmanager
def _as_ours(address: str) -> Iterator[None]:
    """Convert errors of Ray's client into errors of `tuner`."""
    from ray.exceptions import RayError

    try:
        yield
    except (RuntimeError, ValueError, OSError, RayError, _http_error()) as error:
        if isinstance(error, BackendError):
            raise
        text = str(error)
        if "Failed to connect" in text or isinstance(error, OSError):
            raise BackendError(
                f"no dashboard answers at {address}; write the address that `tuner cluster start` "
                f"printed, such as http://HEAD:8265, or open a tunnel to it: "
                f"ssh -L 8265:127.0.0.1:8265 HEAD"
            ) from error
        if "status code 404" in text and "does not exist" in text:
            raise BackendError(f"{address} knows no such job; see `tuner job list`") from error
        raise BackendError(f"the cluster at {address}: {text}") from error


def _http_error() -> type[Exception]:
    import aiohttp

    error: type[Exception] = aiohttp.ClientError
    return error
