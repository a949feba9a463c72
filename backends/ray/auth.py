"""Find, create and use the authentication token of a Ray cluster.

Ray reads the token from ``RAY_AUTH_TOKEN``, else from the file that ``RAY_AUTH_TOKEN_PATH`` names,
else from ``~/.ray/auth_token``, but uses it only if ``RAY_AUTH_MODE`` is ``token``. To spare users
this setting, the cluster is first contacted without a token. Ray's client retries for 20 seconds
after a refusal, so a separate process makes this request.
"""

from __future__ import annotations

import importlib
import os
import secrets
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tuner.errors import BackendError

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"

PROBE_TIMEOUT = 10.0
"""Seconds within which a cluster must accept or refuse the token."""

IMPORT_TIMEOUT = 120.0
"""Additional seconds for the import of Ray on a busy machine."""

_PROBE_SCRIPT = """
import os, sys, threading
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError

def ask():
    try:
        GcsClient(address=sys.argv[1])
    except AuthenticationError:
        answers.append("refused")
    except Exception:
        answers.append("no cluster")
    else:
        answers.append("accepted")

answers = []
asking = threading.Thread(target=ask, daemon=True)
asking.start()
asking.join(float(sys.argv[2]))
print(*answers, flush=True)
os._exit(0)
"""


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its source."""

    text: str
    place: str

    def __repr__(self) -> str:
        """Keep the secret out of logs and tracebacks."""
        return f"Token(from {self.place})"


class ProbeResult(StrEnum):
    """The answer of a server to a connection attempt."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NO_CLUSTER = "no cluster"


def token_file() -> Path:
    """Return the path of the token file of a cluster."""
    named = os.environ.get(TOKEN_PATH)
    return Path(named).expanduser() if named else Path.home() / ".ray" / "auth_token"


def find_token() -> Token | None:
    """Return the token that Ray would use, or None.

    Ray itself creates the file in the home folder under the umask; this function makes it private.

    Raises
    ------
    BackendError
        If a file that ``RAY_AUTH_TOKEN_PATH`` names cannot be read.
    """
    text = os.environ.get(TOKEN, "").strip()
    if text:
        return Token(text, TOKEN)
    path = token_file()
    try:
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        if TOKEN_PATH not in os.environ:
            return None
        raise BackendError(
            f"{TOKEN_PATH}={path}: the file does not exist; copy the token from the head of the "
            f"cluster, or unset the variable"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BackendError(f"the token in {path} cannot be read: {error}") from None
    if TOKEN_PATH not in os.environ:
        with suppress(BackendError):  # only its owner can make it private
            close_to_others(path)
    if not text and TOKEN_PATH in os.environ:
        raise BackendError(f"{TOKEN_PATH}={path}: the file is empty")
    return Token(text, str(path)) if text else None


def make_token_file(path: Path) -> bool:
    """Write a new token into a file that only its owner can read; return False if it exists.

    The file is created atomically and is private from the beginning. An existing file that others
    can read is made private.

    Raises
    ------
    BackendError
        If it cannot be written or made private, or if other users can replace files in its folder.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_folder(path.parent)
        made = _write_new(path, secrets.token_hex(32))
    except OSError as error:
        raise BackendError(f"the token cannot be written to {path}: {error.strerror}") from None
    if not made:
        close_to_others(path)
    return made


def close_to_others(path: Path) -> bool:
    """Make a token file private, and return whether others could read it (Ray uses the umask).

    Raises
    ------
    BackendError
        If it is not a regular file, or belongs to another user.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BackendError(f"the token in {path} is not a regular file; remove it")
        if not stat.S_IMODE(found.st_mode) & 0o077:
            return False
        path.chmod(0o600)
    except OSError as error:
        raise BackendError(
            f"other users can read the token in {path}, and its mode cannot be changed: "
            f"{error.strerror}"
        ) from None
    return True


def is_private_place(folder: Path) -> bool:
    """Return whether only this user and root can rename or replace this user's files in it."""
    try:
        found = folder.stat()
    except OSError:
        return False
    writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    sticky = found.st_mode & stat.S_ISVTX
    return found.st_uid in (0, os.getuid()) and (not writable or bool(sticky))


def _check_folder(folder: Path) -> None:
    """Reject a token folder in which others can replace files; make Ray's own folder private."""
    if folder == Path.home() / ".ray" and folder.stat().st_uid == os.getuid():
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) & ~0o022)
    if not is_private_place(folder):
        raise BackendError(
            f"other users can replace files in {folder}, so no token can be kept there; "
            f"choose a folder that only you can write to"
        )


def _write_new(path: Path, text: str) -> bool:
    """Write a file of mode 0600 atomically; return False if it exists."""
    number, name = tempfile.mkstemp(prefix=".token-", dir=path.parent)  # of mode 0600
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
        os.link(name, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(name)
    return True


def authenticate(address: str) -> None:
    """Make this process use the token if the cluster at ``host:port`` requires one.

    In this case set ``RAY_AUTH_MODE`` of this process, unless it is already set.

    Raises
    ------
    BackendError
        If no token is found, the cluster refuses it, or no cluster answers.
    """
    answer = probe(address)
    if answer is ProbeResult.REFUSED and MODE not in os.environ:
        token = find_token()
        if token is None:
            raise BackendError(f"the cluster at {address} asks for a token; {token_remedy()}")
        answer = probe(address, {MODE: "token"})
        if answer is ProbeResult.ACCEPTED:
            os.environ[MODE] = "token"
    if answer is ProbeResult.REFUSED:
        raise BackendError(_refusal(address))
    if answer is ProbeResult.NO_CLUSTER:
        raise BackendError(
            f"no Ray cluster answers at {address}; write the address that `tuner cluster start` or "
            f"`ray start --head` printed: its default port is 6379 (8265 is the dashboard, 10001 "
            f"is for ray://)"
        )
    read_settings_again()


def probe(address: str, variables: Mapping[str, str] | None = None) -> ProbeResult:
    """Ask the cluster at ``host:port`` whether it accepts a process with these variables."""
    command = [sys.executable, "-c", _PROBE_SCRIPT, address, str(PROBE_TIMEOUT)]
    environment = os.environ | {"RAY_BACKEND_LOG_LEVEL": "fatal"} | dict(variables or {})
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT + IMPORT_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return ProbeResult.NO_CLUSTER
    lines = done.stdout.split("\n")
    return next((answer for answer in ProbeResult if answer.value in lines), ProbeResult.NO_CLUSTER)


def token_remedy() -> str:
    """Return the remedy for a missing token."""
    return (
        f"copy it from the head of the cluster to {token_file()} (as in `scp "
        f"HEAD:.ray/auth_token ~/.ray/`), or name its file in {TOKEN_PATH}"
    )


def _refusal(address: str) -> str:
    if os.environ.get(MODE, "token").lower() != "token":
        return f"the cluster at {address} asks for a token, and {MODE}={os.environ[MODE]}: unset it"
    token = find_token()
    if token is None:
        return f"the cluster at {address} asks for a token; {token_remedy()}"
    return (
        f"the cluster at {address} does not accept the token from {token.place}, which belongs to "
        f"another cluster; {token_remedy()}"
    )


def read_settings_again() -> None:
    """Make Ray reread the environment variables, which it otherwise reads only on import."""
    raylet: Any = importlib.import_module("ray._raylet")  # missing from its stub
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()
