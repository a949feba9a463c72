"""Python's parser, one thread at a time.

Its nesting counter is shared by all threads. If garbage collection lets another thread parse in the
middle, the parser raises `SystemError` (https://github.com/python/cpython/issues/106905).
"""

from __future__ import annotations

import ast
import os
import threading
from typing import Any

_lock = threading.RLock()  # a finalizer may parse in the middle of a parse


def parse_python(text: str, file: str = "<unknown>", mode: str = "exec") -> Any:
    """Return the syntax tree of Python source, as `ast.parse` does.

    >>> type(parse_python("1 + 1", mode="eval").body).__name__
    'BinOp'
    """
    with _lock:
        return ast.parse(text, file, mode)


def literal(text: str) -> Any:
    """Return the value of a Python literal, as `ast.literal_eval` does.

    >>> literal("[1, 'a']")
    [1, 'a']
    """
    return ast.literal_eval(parse_python(text.lstrip(" \t"), mode="eval"))


def _renew_lock() -> None:
    """Replace the lock in a forked child: a thread that the child lacks may hold it."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
