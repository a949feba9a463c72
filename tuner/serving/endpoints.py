"""The endpoints of a server: /predict, /health, /model and /metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tuner.serving.decoding import ARROW, decoded, number_of_rows
from tuner.serving.encoding import as_arrow, as_json, plain, wants_arrow
from tuner.serving.failures import RequestFailure
from tuner.serving.following import Follower
from tuner.serving.metrics import Metrics
from tuner.serving.sampling import Sampler
from tuner.serving.served_model import ServedModel

_log = logging.getLogger("tuner")

JSON = "application/json"
BODY_SECONDS = 30.0
"""Seconds within which a body must arrive."""

FEW_ROWS = 32
"""Number of rows up to which the rows of a request are kept to try a new version."""


class Endpoints:
    """The endpoints; predictions run in threads.

    Parameters
    ----------
    follower
        The served version.
    sampler
        Takes samples of the rows, None for no samples.
    pool
        The threads.
    most_bytes
        Size of a body above which it is refused.
    most_waiting
        Number of requests at once above which more are refused.
    """

    def __init__(
        self,
        follower: Follower,
        sampler: Sampler | None,
        pool: ThreadPoolExecutor,
        *,
        most_bytes: int,
        most_waiting: int,
    ) -> None:
        self._follower, self._sampler, self._pool = follower, sampler, pool
        self._most_bytes, self._most_waiting = most_bytes, most_waiting
        self._waiting = 0
        self.metrics = Metrics(follower, sampler)

    async def predict(self, request: Request) -> Response:
        """Answer the predictions for the rows of the body."""
        began = time.perf_counter()
        try:
            response = await self._predict(request)
        except RequestFailure as failure:
            body = as_json({"error": failure.detail})
            response = Response(body, failure.status, failure.headers, JSON)
        self.metrics.count(response.status_code)
        self.metrics.seconds.observe(time.perf_counter() - began)
        return response

    async def _predict(self, request: Request) -> Response:
        headers = request.headers
        in_arrow = wants_arrow(headers.get("accept", ""), ARROW)
        if headers.get("content-encoding", "identity") != "identity":
            raise RequestFailure(415, "send the body without Content-Encoding")
        if self._waiting >= self._most_waiting:
            raise RequestFailure(503, "too many requests wait; try again", **{"retry-after": "1"})
        self._waiting += 1
        try:
            body = await read_body(request, self._most_bytes)
            kind = headers.get("content-type", "")
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, self._answer, body, kind, in_arrow)
        finally:
            self._waiting -= 1

    def _answer(self, body: bytes, kind: str, in_arrow: bool) -> Response:
        """Decode, check, predict and encode; runs in a thread."""
        served = self._follower.current
        signature = served.version.signature
        data = decoded(body, kind, None if signature is None else signature.inputs)
        inputs = served.inputs(data)
        rows = number_of_rows(data)
        predictions = self._predicted(served, inputs) if rows else []
        self.metrics.rows.inc(rows)
        if self._sampler is not None and rows:
            self._sampler.offer(served.version, inputs, predictions, rows)
        if 0 < rows <= FEW_ROWS:
            self._follower.last_rows = inputs
        about = {"x-model": served.ref}
        if in_arrow:
            return Response(as_arrow(predictions), 200, about, ARROW)
        facts = {
            "predictions": plain(predictions),
            "model": served.version.name,
            "version": served.version.version,
        }
        if served.classes is not None:
            facts["classes"] = served.classes
        return Response(as_json(facts), 200, about, JSON)

    def _predicted(self, served: ServedModel, inputs: Any) -> Any:
        began = time.perf_counter()
        try:
            return served.predict(inputs)
        except Exception as error:  # of the model's library
            if served.version.signature is None and isinstance(error, ValueError | TypeError):
                raise RequestFailure(422, f"the model refuses the rows: {error!s:.500}") from None
            _log.exception("model %s failed", served.ref)
            raise RequestFailure(500, f"the model failed: {type(error).__name__}") from None
        finally:
            self.metrics.predict_seconds.observe(time.perf_counter() - began)

    async def health(self, request: Request) -> Response:
        """Answer whether the server works, and whether it serves the version of the alias."""
        follower = self._follower
        facts: dict[str, Any] = {"status": "stale" if follower.failure else "ok"}
        if request.scope.get("trusted"):
            version = follower.current.version
            facts |= {"model": version.name, "version": version.version}
            facts |= {"problem": follower.failure} if follower.failure else {}
        return Response(as_json(facts), 200, None, JSON)

    async def model(self, _: Request) -> Response:
        """Answer the version, its signature and its card."""
        served = self._follower.current
        signature = served.version.signature
        facts = {
            "model": served.version.name,
            "version": served.version.version,
            "signature": None if signature is None else signature.to_dict(),
            "card": served.card,
        }
        return Response(as_json(facts), 200, None, JSON)

    async def show_metrics(self, _: Request) -> Response:
        """Answer the metrics in Prometheus' text format."""
        return Response(self.metrics.text(), 200, None, "text/plain; version=0.0.4; charset=utf-8")


async def read_body(request: Request, most_bytes: int) -> bytes:
    """Return the body of a request, counted as it arrives.

    Raises
    ------
    RequestFailure
        413 if it has more bytes, 408 if it does not arrive in time.
    """
    failure = RequestFailure(413, f"the body has more than {most_bytes:,} bytes; send fewer rows")
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > most_bytes:
        raise failure
    chunks, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > most_bytes:
                    raise failure
                chunks.append(chunk)
    except TimeoutError:
        raise RequestFailure(408, f"the body did not arrive in {BODY_SECONDS:g} s") from None
    except ClientDisconnect:
        raise RequestFailure(400, "the client left") from None
    return b"".join(chunks)
