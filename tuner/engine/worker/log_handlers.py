"""Handlers of `logging` during trials: the output of a run contains what its objective logs.

A handler keeps the stream that it was created with, such as the standard error of a script whose
first line configures logging. While trials run, such handlers write to the tee instead. If the root
logger has handlers but none writes to a standard stream, as in a script that logs to a file, a
handler of ours adds the lines to the output of the run, and prints nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

AddText: TypeAlias = Callable[[str, str], None]
"""Adds text of a stream to the output of the run for which the calling thread works."""


class _OutputHandler(logging.Handler):
    """Adds records to the output of a run, unless another handler prints them."""

    def __init__(self, add: AddText, streams: Iterable[Any]) -> None:
        super().__init__()
        self._add = add
        self._streams = list(streams)

    def emit(self, record: logging.LogRecord) -> None:
        """Add the record to the output of the run."""
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            for handler in logger.handlers:
                if record.levelno >= handler.level and _writes_to(handler, self._streams):
                    return
            logger = logger.parent if logger.propagate else None
        try:
            self._add(f"{self.format(record)}\n", "log")
        except Exception:
            self.handleError(record)


def redirect(replacement: Callable[[Any], Any], tees: Sequence[Any], add: AddText) -> None:
    """Let the handlers of this process write to the streams that replace theirs.

    Parameters
    ----------
    replacement
        Returns the stream for a handler that has another one.
    tees
        The streams whose text is in the output of the run; empty if no trial runs.
    add
        Adds text to the output of the run.
    """
    for reference in list(getattr(logging, "_handlerList", ())):
        handler = reference()
        if _keeps_a_stream(handler) and (new := replacement(handler.stream)) is not handler.stream:
            handler.acquire()
            try:
                handler.stream = new
            finally:
                handler.release()
    root = logging.getLogger()
    ours = [handler for handler in root.handlers if isinstance(handler, _OutputHandler)]
    others = [handler for handler in root.handlers if not isinstance(handler, _OutputHandler)]
    needed = bool(tees) and bool(others) and all(_is_apart(h, tees) for h in others)
    if needed and not ours:
        handler = _OutputHandler(add, tees)
        handler.setFormatter(others[0].formatter or logging.Formatter(logging.BASIC_FORMAT))
        root.addHandler(handler)
    elif not needed:
        for handler in ours:
            root.removeHandler(handler)


def _keeps_a_stream(handler: Any) -> bool:
    return isinstance(handler, logging.StreamHandler) and "stream" in vars(handler)


def _writes_to(handler: logging.Handler, streams: Sequence[Any]) -> bool:
    return _keeps_a_stream(handler) and any(vars(handler)["stream"] is s for s in streams)


def _is_apart(handler: logging.Handler, tees: Sequence[Any]) -> bool:
    """Whether it is certain that a handler does not write to a standard stream."""
    if isinstance(handler, logging.NullHandler):
        return True
    return _keeps_a_stream(handler) and not _writes_to(handler, tees)
