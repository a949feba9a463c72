"""The query language of ``tuner find`` and `tuner.find`.

`tokens` and `parser` turn text into a `syntax` tree. `compiler` turns the tree into SQLAlchemy
expressions, using the `fields` of trials, runs, studies or models. `result` executes them on a
store. ``docs/find.md`` contains the grammar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuner.query.parser import parse
from tuner.query.syntax import Query

if TYPE_CHECKING:
    from tuner.query.result import QueryResult, search

__all__ = ["Query", "QueryResult", "parse", "search"]


def __getattr__(name: str) -> Any:
    # Parsing a query does not need SQLAlchemy, which takes 0.2 s to import.
    if name in ("QueryResult", "search"):
        from tuner.query import result

        return getattr(result, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
