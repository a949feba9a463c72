"""The token that a Ray cluster asks of whoever wants in: found, made, and shown to it.

Ray reads the token from ``RAY_AUTH_TOKEN``, else from the file that ``RAY_AUTH_TOKEN_PATH`` names,
else from ``~/.ray/auth_token``, but uses it only where ``RAY_AUTH_MODE`` is ``token``. So that
nobody has to set that, a cluster is asked without it first. Its refusal takes Ray's own client 20
seconds of attempts, hence the question in a process of its own.
"""

from __future__ import annotations

import importlib
import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tuner.errors import BackendError

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"

ANSWER = 10.0
"""Seconds within which a cluster must answer whether it lets us in."""

IMPORT = 120.0
"""Seconds that a busy machine may take to import Ray before."""

_QUESTION = """
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
        answers.append("welcome")

answers = []
asking = threading.Thread(target=ask, daemon=True)
asking.start()
asking.join(float(sys.argv[2]))
print(*answers, flush=True)
os._exit(0)
"""


@dataclass(frozen=True, slots=True)
class Token:
    """A token and where it was found."""

    text: str
    place: str

    def __repr__(self) -> str:
        """Keep the secret out of logs and tracebacks."""
        return f"Token(from {self.place})"


class Answer(StrEnum):
    """What was said at an address."""

    WELCOME = "welcome"
    REFUSED = "refused"
    NO_CLUSTER = "no cluster"


def token_file() -> Path:
    """Return the file in which the token of a cluster is kept or looked for."""
    named = os.environ.get(TOKEN_PATH)
    return Path(named).expanduser() if named else Path.home() / ".ray" / "auth_token"


def find_token() -> Token | None:
    """Return the token that Ray would use, or None.

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
            f"{TOKEN_PATH}={path}: there is no such file; copy the token from the head of the "
            f"cluster, or unset the variable"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BackendError(f"the token in {path} cannot be read: {error}") from None
    if not text and TOKEN_PATH in os.environ:
        raise BackendError(f"{TOKEN_PATH}={path}: the file is empty")
    return Token(text, str(path)) if text else None


def make_token_file(path: Path) -> bool:
    """Write a new token into a file that only its owner can read; return False if it is there.

    One that others can read is closed to them.

    Raises
    ------
    BackendError
        If it cannot be written or closed.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        close_to_others(path)
        return False
    except OSError as error:
        raise BackendError(f"the token cannot be written to {path}: {error.strerror}") from None
    return True


def close_to_others(path: Path) -> None:
    """Let only the owner read a token: Ray writes it as the umask says.

    Raises
    ------
    BackendError
        If it belongs to somebody else.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise BackendError(
            f"others can read the token in {path}, and that cannot be changed: {error.strerror}"
        ) from None


def be_let_in(address: str) -> None:
    """Make this process use the token if the cluster at ``host:port`` asks for one.

    Changes ``RAY_AUTH_MODE`` of this process if so, and only if it was not set.

    Raises
    ------
    BackendError
        If there is no token, it is not that of the cluster, or no cluster answers.
    """
    answer = ask(address)
    if answer is Answer.REFUSED and MODE not in os.environ:
        token = find_token()
        if token is None:
            raise BackendError(f"the cluster at {address} asks for a token; {obtain_token()}")
        answer = ask(address, {MODE: "token"})
        if answer is Answer.WELCOME:
            os.environ[MODE] = "token"
    if answer is Answer.REFUSED:
        raise BackendError(_refusal(address))
    if answer is Answer.NO_CLUSTER:
        raise BackendError(
            f"what listens at {address} is no Ray cluster; write the address that "
            f"`tuner cluster start` or `ray start --head` printed, whose port is 6379 unless "
            f"another was chosen (8265 is that of the dashboard, 10001 takes ray://)"
        )
    _read_settings_again()


def ask(address: str, variables: Mapping[str, str] | None = None) -> Answer:
    """Ask the cluster at ``host:port`` whether it lets in a process with these variables."""
    command = [sys.executable, "-c", _QUESTION, address, str(ANSWER)]
    environment = os.environ | {"RAY_BACKEND_LOG_LEVEL": "fatal"} | dict(variables or {})
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=ANSWER + IMPORT
        )
    except subprocess.TimeoutExpired:
        return Answer.NO_CLUSTER
    lines = done.stdout.split("\n")
    return next((answer for answer in Answer if answer.value in lines), Answer.NO_CLUSTER)


def obtain_token() -> str:
    """Return the remedy where there is no token."""
    return (
        f"copy it from the head of the cluster to {token_file()} (as in `scp "
        f"HEAD:.ray/auth_token ~/.ray/`), or name its file in {TOKEN_PATH}"
    )


def _refusal(address: str) -> str:
    if os.environ.get(MODE, "token").lower() != "token":
        return f"the cluster at {address} asks for a token, and {MODE}={os.environ[MODE]}: unset it"
    token = find_token()
    if token is None:
        return f"the cluster at {address} asks for a token; {obtain_token()}"
    return (
        f"the cluster at {address} does not accept the token from {token.place}: it is that of "
        f"another cluster; {obtain_token()}"
    )


def _read_settings_again() -> None:
    """Let Ray see the variables of now: it reads them when it is imported."""
    raylet: Any = importlib.import_module("ray._raylet")  # its stub leaves these out
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()
