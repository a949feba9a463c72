"""Tracking: the store of studies, trials and runs, their artifacts and their provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuner.tracking.batch import Batch

if TYPE_CHECKING:
    from tuner.tracking.store import Store, open_store

__all__ = ["Batch", "Store", "open_store"]


def __getattr__(name: str) -> Any:
    # SQLAlchemy takes 0.2 s to import, so it is imported only when a store is opened.
    if name in ("Store", "open_store"):
        from tuner.tracking import store

        return getattr(store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
