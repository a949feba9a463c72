"""Access to a server: the address, the token and the names of the host."""

from __future__ import annotations

import hmac
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING

from tuner.errors import ArgumentError
from tuner.serving.encoding import as_json

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

SHORTEST_TOKEN = 16
"""Number of characters of the shortest allowed token."""

OPEN_PATHS = ("/health",)
"""Paths that need no token, for probes; without the token they show no details."""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether only processes of this machine reach a host name or address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_access(host: str, token: str | None) -> None:
    """Check that a server is not open to others without a token.

    Raises
    ------
    ArgumentError
        If the host is not loopback and lacks a token, or the token is invalid.
    """
    check_token(token)
    if token is None and not is_loopback(host):
        raise ArgumentError(
            f"host={host!r} is reachable from other machines, which needs a token: set the "
            f"environment variable TUNER_SERVE_TOKEN or write --token-file, or serve on "
            f"127.0.0.1"
        )


def check_token(token: str | None) -> None:
    """Check the form of a token.

    Raises
    ------
    ArgumentError
        If it is short or not ASCII.
    """
    if token is None:
        return
    if not isinstance(token, str):
        raise ArgumentError("the token is not a text")
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise ArgumentError(
            f"the token has {len(token)} characters; write at least {SHORTEST_TOKEN} printable "
            f"ASCII ones, such as those of: python -c 'import secrets; "
            f"print(secrets.token_urlsafe())'"
        )


class Gate:
    """The ASGI application that answers requests without the token itself.

    Without a token, only requests from this machine for a name of it pass. A page of another site
    cannot use a name of its own that resolves to this machine.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._expected = None if token is None else f"Bearer {token}".encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            if self._expected is None:
                client = scope.get("client")
                host = headers.get(b"host", b"localhost").decode("latin-1")
                if not _is_local(host) or (client and not is_loopback(client[0])):
                    await _answer(send, 421, "this server is for this machine only", [])
                    return
                scope["trusted"] = True
            else:
                given = headers.get(b"authorization", b"")
                scope["trusted"] = hmac.compare_digest(given, self._expected)
                if not scope["trusted"] and scope["path"] not in OPEN_PATHS:
                    challenge = [(b"www-authenticate", b"Bearer")]
                    await _answer(
                        send, 401, "send the header Authorization: Bearer TOKEN", challenge
                    )
                    return
        await self._app(scope, receive, send)


def _is_local(host: str) -> bool:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower() in LOOPBACK_NAMES


async def _answer(
    send: Send, status: int, message: str, headers: list[tuple[bytes, bytes]]
) -> None:
    body = as_json({"error": {"message": message}})
    about = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": about + headers})
    await send({"type": "http.response.body", "body": body})
