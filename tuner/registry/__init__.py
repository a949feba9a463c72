"""The model registry: versions of models, their lineage, formats, and safe loading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuner.plugins import Plugins

if TYPE_CHECKING:
    from tuner.registry.registry import Registry

__all__ = ["Registry"]

FORMATS = Plugins(
    "format",
    "tuner.model_formats",
    "tuner.registry.protocol:ModelFormat",
    {
        "skops": "tuner.registry.skops_format:SkopsFormat",
        "json": "tuner.registry.json_format:JsonFormat",
        "pickle": "tuner.registry.pickle_format:PickleFormat",
    },
)


def __getattr__(name: str) -> Any:
    """Import the registry, and SQLAlchemy with it, when it is first used."""
    if name == "Registry":
        from tuner.registry.registry import Registry

        return Registry
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
