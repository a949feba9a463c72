"""Description of exceptions as `Failure` records, including exceptions that fail to format."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from itertools import dropwhile, takewhile
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from tuner.errors import NOT_OUTCOMES, TunerError
from tuner.errors.credentials import hide
from tuner.records.failure import MESSAGE_LIMIT, TRACEBACK_LIMIT, Failure, capped

_TRACEBACK: Any = BaseException.__dict__["__traceback__"]

_OURS = str(Path(__file__).parent.parent)
"""The folder whose frames at the ends of a traceback tell a user nothing."""

_EXAMPLES = str(Path(__file__).parent.parent / "testing")
"""The folder within it whose functions run as those of a user."""


def describe(error: BaseException) -> Failure:
    """Return the type, message, traceback and place of an exception.

    The traceback begins in user code. For a `TunerError` it also ends there: the place is the line
    of the wrong call. An exception may override anything: `str`, `__class__`, `__traceback__`, the
    name of its type. Parts that cannot be read are omitted. Credentials are hidden.
    """
    # As it is stored, past an override in the exception's type.
    trace = _past_our_frames(_TRACEBACK.__get__(error))
    kind = _type_name(error)
    message = text_of(error, "the error")
    frames = [(f.f_code.co_filename, line) for f, line in traceback.walk_tb(trace)]
    last = max((n for n, (file, _) in enumerate(frames, 1) if not _is_ours(file)), default=0)
    on_purpose = issubclass(type(error), TunerError)
    shown = last if on_purpose else len(frames)
    if not shown:  # a wrong value that no line of the user passed to us
        return Failure(kind, hide(message))
    place = "{}:{}".format(*frames[(last or len(frames)) - 1])
    return Failure(kind, hide(message), hide("".join(_lines(error, trace, shown))), place)


def called_from_user_code(failure: Failure) -> Failure:
    """Return a failure in a call of ours, with the user's call as its place and in its traceback.

    The exception has been caught, so its own traceback does not reach up to that call.
    """
    frames = list(traceback.walk_stack(sys._getframe()))
    users = list(dropwhile(_is_ours_at, frames))
    users = list(takewhile(lambda at: not _is_ours_at(at), users))
    if not users:
        return failure
    frame, line = users[0]
    stack = "".join(_ends(traceback.StackSummary.extract(iter(users[::-1])).format()))
    text = f"Traceback (most recent call last):\n{stack}{failure.traceback or failure}"
    return replace(failure, traceback=hide(text), place=f"{frame.f_code.co_filename}:{line}")


def _is_ours_at(at: tuple[FrameType, int]) -> bool:
    return _is_ours(at[0].f_code.co_filename)


def text_of(value: Any, what: str) -> str:
    """Return ``str(value)``, capped as a message; if that raises, a statement that it does."""
    try:
        return capped(str(value), MESSAGE_LIMIT)
    except NOT_OUTCOMES:
        raise
    except BaseException as inner:
        return f"<str() of {what} raised {_type_name(inner)}>"


def _type_name(error: BaseException) -> str:
    # A metaclass may hide it.
    name: str = type.__dict__["__name__"].__get__(type(error))
    return name


def _past_our_frames(trace: TracebackType | None) -> TracebackType | None:
    while (
        trace is not None
        and trace.tb_next is not None
        and _is_ours(trace.tb_frame.f_code.co_filename)
    ):
        trace = trace.tb_next
    return trace


def _is_ours(file: str) -> bool:
    if file == contextlib.__file__:
        return True  # runs our blocks
    return file.startswith(_OURS) and not file.startswith(_EXAMPLES)


def _lines(error: BaseException, trace: TracebackType | None, shown: int) -> list[str]:
    """Return the formatted traceback in pieces, little more of it than is kept.

    Of the frames, the first `shown` are formatted.
    """
    try:
        described = traceback.TracebackException(type(error), error, trace, compact=True)
        del described.stack[shown:]
        return _ends(described.format())
    except NOT_OUTCOMES:
        raise
    except BaseException:
        # Such as a `__cause__` that cannot be read. The frames alone are worth keeping, too.
        return [
            *_ends(traceback.format_tb(trace)),
            f"{_type_name(error)}: {text_of(error, 'it')}\n",
        ]


def _ends(pieces: Iterable[str]) -> list[str]:
    """Return the first and the last pieces of many, and a statement of how much is between them."""
    half = TRACEBACK_LIMIT // 2
    head: list[str] = []
    tail: deque[str] = deque()
    in_head = in_tail = cut = 0
    for piece in pieces:
        if not tail and in_head + len(piece) <= half:
            head.append(piece)
            in_head += len(piece)
            continue
        short = capped(piece, MESSAGE_LIMIT)
        tail.append(short)
        in_tail += len(short)
        while in_tail > half and len(tail) > 1:
            dropped = len(tail.popleft())
            in_tail -= dropped
            cut += dropped
    return [*head, f"\n[... {cut} characters cut ...]\n", *tail] if cut else [*head, *tail]
