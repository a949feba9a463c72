"""The Starlette application that serves a model."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import ArgumentError, MissingExtra
from tuner.errors.boundary import public
from tuner.registry import Registry
from tuner.registry.served import add_sample
from tuner.serving.access import Gate, check_token
from tuner.serving.following import Follower
from tuner.serving.sampling import Sampler
from tuner.serving.served_model import load

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from tuner.tracking.store import Store

MOST_BYTES = 10_000_000
"""Default limit of the size of a request, in bytes."""


@public()
def app(
    ref: str,
    *,
    store: Store | str | Path | None = None,
    method: str = "predict",
    token: str | None = None,
    sample: bool = True,
    poll: float = 2.0,
    most_bytes: int = MOST_BYTES,
    most_waiting: int = 256,
    threads: int | None = None,
    allow_pickle: bool = False,
    trusted: Sequence[str] = (),
) -> Starlette:
    """Return the application that serves a model, for a server of ASGI such as uvicorn.

    The model is loaded now. While the application runs, it follows the alias and writes samples.

    Parameters
    ----------
    ref
        ``"name"`` (its champion), ``"name@alias"`` or ``"name@3"``.
    store, allow_pickle, trusted
        As for `load_model`.
    method
        ``"predict"`` or ``"predict_proba"``.
    token
        The token that requests must have. None allows requests of this machine only.
    sample
        Whether to write a sample of the rows and predictions to the store; see
        `Registry.served_samples`.
    poll
        Seconds between two looks at the alias.
    most_bytes
        Size of a request above which it is refused.
    most_waiting
        Number of requests at once above which more are refused.
    threads
        Number of threads that predict. None takes the number of cores, at most 8.

    Raises
    ------
    ModelNotFound, UntrustedModel, ChecksumMismatch, RegistryError
        If the model cannot be loaded or does not predict.
    ArgumentError
        If an argument is invalid.
    MissingExtra
        If Starlette is not installed.

    Examples
    --------
    >>> import tempfile, tuner
    >>> from sklearn.dummy import DummyRegressor
    >>> def objective(params, trial):
    ...     model = DummyRegressor(strategy="constant", constant=params["x"]).fit([[0.0]], [0.0])
    ...     trial.log_model(model, example=[[0.0]])
    ...     return params["x"]
    >>> study = tuner.optimize(
    ...     objective, {"x": tuner.Int(1, 9)}, n_trials=2, backend="serial", register="constant",
    ...     store=tempfile.mkdtemp(), progress=False,
    ... )
    >>> application = app("constant", store=study.store)
    >>> sorted(route.path for route in application.routes)
    ['/health', '/metrics', '/model', '/predict']
    """
    if not isinstance(poll, int | float) or not 0 < poll < float("inf"):
        raise ArgumentError(f"poll={poll!r}: write a number of seconds above 0")
    for name, count in (("most_bytes", most_bytes), ("most_waiting", most_waiting)):
        _check_count(name, count)
    if threads is not None:
        _check_count("threads", threads)
    check_token(token)
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.routing import Route

        from tuner.serving.endpoints import Endpoints
    except ImportError as error:
        raise MissingExtra(
            f"{error.name} is not installed; run: pip install 'tuner[serve]'"
        ) from error
    registry: Registry = Registry(store)
    follower = Follower(
        partial(registry.get, ref),
        partial(load, registry, method=method, allow_pickle=allow_pickle, trusted=trusted),
        interval=poll,
    )
    sampler = Sampler(partial(add_sample, registry.store)) if sample else None
    pool = ThreadPoolExecutor(threads or min(8, os.cpu_count() or 1), "tuner-predict")
    endpoints = Endpoints(follower, sampler, pool, most_bytes=most_bytes, most_waiting=most_waiting)
    return Starlette(
        routes=[
            Route("/predict", endpoints.predict, methods=["POST"]),
            Route("/health", endpoints.health),
            Route("/model", endpoints.model),
            Route("/metrics", endpoints.show_metrics),
        ],
        middleware=[Middleware(Gate, token)],
        lifespan=lambda _: _running(follower, sampler, pool),
    )


@asynccontextmanager
async def _running(
    follower: Follower, sampler: Sampler | None, pool: ThreadPoolExecutor
) -> AsyncIterator[None]:
    """Run the threads that follow the alias and write samples while the application runs."""
    follower.start()
    if sampler is not None:
        sampler.start()
    yield
    pool.shutdown()
    follower.close()
    if sampler is not None:
        sampler.close()


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ArgumentError(f"{name}={value!r}: write an integer of at least 1")
