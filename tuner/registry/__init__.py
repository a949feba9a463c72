"""The model registry: versions of models, their lineage, formats, and safe loading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.registry.registry import Registry
    from tuner.registry.rules import PromotionRule, Rules

__all__ = ["PromotionRule", "Registry", "Rules"]


def __getattr__(name: str) -> Any:
    """Import the registry, and SQLAlchemy with it, when it is first used."""
    if name == "Registry":
        from tuner.registry.registry import Registry

        return Registry
    if name in ("PromotionRule", "Rules"):
        from tuner.registry import rules

        return getattr(rules, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
