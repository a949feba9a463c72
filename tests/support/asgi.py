"""Requests to an ASGI application in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, as JSON."""
        return json.loads(self.body)


def send(
    app: Any,
    method: str,
    path: str,
    body: bytes | Sequence[bytes] = b"",
    headers: Mapping[str, str] | None = None,
    client: str = "127.0.0.1",
) -> Answer:
    """Send one request; a body in pieces has no Content-Length."""
    given = {"host": "127.0.0.1:8000"} | dict(headers or {})
    if isinstance(body, bytes):
        given.setdefault("content-length", str(len(body)))
    pieces = [body] if isinstance(body, bytes) else list(body)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "client": (client, 1234),
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in given.items()],
    }
    events: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not pieces:
            return {"type": "http.disconnect"}
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def sent(event: dict[str, Any]) -> None:
        events.append(event)

    asyncio.run(app(scope, receive, sent))
    start = next(e for e in events if e["type"] == "http.response.start")
    found = b"".join(e.get("body", b"") for e in events if e["type"] == "http.response.body")
    return Answer(
        start["status"], {k.decode(): v.decode("latin-1") for k, v in start["headers"]}, found
    )
