"""Tracking: the store of studies, trials and runs, their artifacts and their provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuner.tracking.protocol import Batch, Store

if TYPE_CHECKING:
    from tuner.tracking.sql_store import SqlStore, open_store

__all__ = ["Batch", "SqlStore", "Store", "open_store"]

_LAZY = ("SqlStore", "open_store")


def __getattr__(name: str) -> Any:
    # SQLAlchemy takes 0.2 s to import, so it is imported only when a store is opened.
    if name in _LAZY:
        from tuner.tracking import sql_store

        return getattr(sql_store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
