"""The model registry: versions of models, their lineage, formats, and safe loading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.registry.registry import Registry

__all__ = ["Registry"]


def __getattr__(name: str) -> Any:
    """Import the registry, and SQLAlchemy with it, when it is first used."""
    if name == "Registry":
        from tuner.registry.registry import Registry

        return Registry
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
