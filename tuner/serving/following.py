"""Following an alias: a thread loads the version that it points to, and exchanges it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from tuner.errors import StoreError
from tuner.records import ModelVersion
from tuner.serving.served_model import ServedModel, check, reason

_log = logging.getLogger("tuner")

SLOWEST_RETRY = 60.0
"""Longest time between two attempts to load a version that failed, in seconds."""


class Follower:
    """The served version, which follows a reference.

    Requests take `current` once and keep it, so they end with the version that they began with.

    Parameters
    ----------
    find
        Returns the version that the reference means now.
    load
        Loads a version.
    interval
        Seconds between two looks at the registry.
    clock
        A monotonic clock, in seconds.

    Attributes
    ----------
    current : ServedModel
        The version that is served.
    failure : str
        The reason for which the alias is not followed; empty if it is.
    failures : int
        Number of failed attempts to follow it.
    swaps : int
        Number of exchanged versions.
    last_rows : object
        Rows of a recent request, by which a new version is tried.
    """

    def __init__(
        self,
        find: Callable[[], ModelVersion],
        load: Callable[[ModelVersion], ServedModel],
        *,
        interval: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find, self._load, self._interval, self._clock = find, load, interval, clock
        self.current = load(find())
        self.failure = ""
        self.failures = self.swaps = 0
        self.last_rows: Any = None
        self._refused: tuple[Any, ...] = ()
        self._attempts, self._again = 0, 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._follow, name="tuner-follow", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; wait at most for a second, as it may be loading."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=1)

    def _follow(self) -> None:
        while not self._stop.wait(self._interval):
            self.look()

    def look(self) -> None:
        """Look at the registry once, and exchange the version if the alias moved."""
        try:
            version = self._find()
        except Exception as error:  # the store is away, or the alias was deleted
            self._failed(error, count=not isinstance(error, StoreError) and not self.failure)
            return
        key = _key(version)
        if key == _key(self.current.version):
            self.failure, self._refused, self._attempts = "", (), 0
            return
        if key == self._refused and self._clock() < self._again:
            return
        try:
            new = self._load(version)
            check(new, self.last_rows, self.current)
        except Exception as error:  # of the file, the store, or the model's library
            self._attempts = self._attempts + 1 if key == self._refused else 1
            self._refused = key
            self._again = self._clock() + min(self._interval * 2**self._attempts, SLOWEST_RETRY)
            self._failed(error)
            return
        _log.warning("serving %s instead of %s", new.ref, self.current.ref)
        self.current, self.failure, self._refused, self._attempts = new, "", (), 0
        self.swaps += 1

    def _failed(self, error: Exception, *, count: bool = True) -> None:
        self.failures += count
        text = reason(error)
        if text != self.failure:
            _log.error("serving %s still: %s", self.current.ref, text)
        self.failure = text


def _key(version: ModelVersion) -> tuple[Any, ...]:
    """Return what a served version depends on."""
    return version.run, version.version, version.artifact, version.signature
