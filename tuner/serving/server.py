"""The HTTP server of a model, until it is told to end."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError, MissingExtra
from tuner.errors.boundary import public
from tuner.serving.access import check_access
from tuner.serving.application import app

if TYPE_CHECKING:
    from tuner.tracking.store import Store

GRACE_SECONDS = 30
"""Seconds that running requests have after the signal to end."""


@public()
def serve(
    ref: str,
    *,
    store: Store | str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    started: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> None:
    """Serve a model by HTTP until SIGTERM or Ctrl-C; requests that run then are answered.

    Parameters
    ----------
    ref, store, options
        As for `app`.
    host
        The address to listen on. Another one than loopback needs a token.
    port
        The port; 0 chooses a free one.
    token
        The token that requests must have.
    started
        Called with the URL when the server listens.

    Raises
    ------
    ArgumentError
        If the address is not loopback and lacks a token, or cannot be bound.
    RegistryError
        If the model cannot be loaded; see `app`.
    """
    check_access(host, token)
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtra("uvicorn is not installed; run: pip install 'tuner[serve]'") from error
    listening = _bound(host, port)
    with listening:
        config = uvicorn.Config(
            app(ref, store=store, token=token, **options),
            log_config=None,
            access_log=False,
            lifespan="on",
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        shown = f"[{host}]" if ":" in host else host
        started(f"http://{shown}:{listening.getsockname()[1]}")
        with _sigterm_ignored():
            uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def _sigterm_ignored() -> Iterator[None]:
    """Ignore the signal that uvicorn repeats after the shutdown; it would end the process."""
    if threading.current_thread() is not threading.main_thread():
        yield  # uvicorn takes no signals then
        return
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise ArgumentError(
            f"host={host!r}, port={port!r} cannot be served: "
            f"{getattr(error, 'strerror', None) or error}; choose a free port, or 0"
        ) from None
