"""The query language: what ``tuner find`` and `tuner.find` understand.

`tokens` and `parser` make a `syntax` tree of text, `compiler` makes SQLAlchemy expressions of the
tree with the `fields` of what is asked for, `result` runs them on a store. The grammar is in
``docs/find.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuner.query.parser import parse
from tuner.query.syntax import Query

if TYPE_CHECKING:
    from tuner.query.result import QueryResult, search

__all__ = ["Query", "QueryResult", "parse", "search"]


def __getattr__(name: str) -> Any:
    # Reading a query needs no SQLAlchemy, which costs 0.2 s to import.
    if name in ("QueryResult", "search"):
        from tuner.query import result

        return getattr(result, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
