"""The logging configuration of the user's script, for workers in other processes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
