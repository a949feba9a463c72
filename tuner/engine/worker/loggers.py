"""Logging in a worker: the configuration of the user's script, and handlers of the run's output.

A handler keeps the stream that it was created with, such as the standard error of a script whose
first line configures logging. While trials run, such handlers write to the tee instead. If the root
logger has handlers but none writes to a standard stream, as in a script that logs to a file, a
handler of ours adds the lines to the output of the run, and prints nothing.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

_FOREIGN = ("ray", "tuner")
"""Top-level loggers that workers configure themselves."""


@dataclass(frozen=True, slots=True)
class ConsoleHandler:
    """A handler that prints records; `stream` is ``"stdout"`` or ``"stderr"``."""

    stream: str
    level: int
    form: str | None
    dates: str | None


@dataclass(frozen=True, slots=True)
class LoggerSetup:
    """Level and handlers of a logger; the name of the root logger is empty."""

    name: str
    level: int
    propagate: bool
    handlers: tuple[ConsoleHandler, ...]


@dataclass(frozen=True, slots=True)
class LogSetup:
    """The loggers that the process `pid` has configured.

    A worker logs at the level of the script, and prints in its format. Files and other handlers
    stay with the script. Libraries configure their own handlers.
    """

    pid: int
    loggers: tuple[LoggerSetup, ...]

    @classmethod
    def current(cls) -> LogSetup:
        """Return the configuration of this process."""
        return cls(os.getpid(), tuple(_configured()))

    def apply(self) -> None:
        """Configure loggers that this worker's process has not configured itself."""
        if os.getpid() == self.pid or self in _applied:
            return
        _applied.add(self)
        for setup in self.loggers:
            logger = logging.getLogger(setup.name or None)
            untouched = logging.WARNING if logger is logging.root else logging.NOTSET
            if logger.handlers or logger.level != untouched:
                continue
            logger.setLevel(setup.level)
            logger.propagate = setup.propagate
            for handler in setup.handlers:
                logger.addHandler(_handler(handler))


_applied: set[LogSetup] = set()


def _handler(setup: ConsoleHandler) -> logging.Handler:
    handler = logging.StreamHandler(getattr(sys, setup.stream))
    handler.setLevel(setup.level)
    handler.setFormatter(logging.Formatter(setup.form, setup.dates))
    return handler


def _configured() -> Iterator[LoggerSetup]:
    root = logging.getLogger()
    if root.handlers or root.level != logging.WARNING:
        handlers = tuple(_console_handlers(root))
        if not handlers and root.handlers:
            # The script logs to a file, which a worker elsewhere does not have. Print there.
            handlers = (ConsoleHandler("stderr", logging.NOTSET, *_form(root.handlers[0])),)
        yield LoggerSetup("", root.level, True, handlers)
    for name, logger in sorted(logging.root.manager.loggerDict.items()):
        if not isinstance(logger, logging.Logger) or name.partition(".")[0] in _FOREIGN:
            continue
        handlers = () if _is_of_library(name) else tuple(_console_handlers(logger))
        if logger.level != logging.NOTSET or handlers:
            yield LoggerSetup(name, logger.level, logger.propagate, handlers)


def _console_handlers(logger: logging.Logger) -> Iterator[ConsoleHandler]:
    for handler in logger.handlers:
        stream = vars(handler).get("stream")
        for name in ("stdout", "stderr"):
            if stream is not None and stream in (vars(sys)[name], vars(sys)[f"__{name}__"]):
                yield ConsoleHandler(name, handler.level, *_form(handler))
                break


def _form(handler: logging.Handler) -> tuple[str | None, str | None]:
    """Return the formats of a line and of a date; a special formatter gives the default."""
    formatter = handler.formatter
    if type(formatter) is logging.Formatter and type(formatter._style) is logging.PercentStyle:
        return formatter._fmt, formatter.datefmt
    return logging.BASIC_FORMAT, None


def _is_of_library(name: str) -> bool:
    """Whether a logger belongs to an installed package, which configures it itself."""
    module = sys.modules.get(name.partition(".")[0])
    file = getattr(module, "__file__", None) or ""
    return bool({"site-packages", "dist-packages"} & set(Path(file).parts))


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
