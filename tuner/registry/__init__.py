"""The model registry: versions of models, their lineage, formats, and safe loading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.registry.native.onnx_format import OnnxFormat
    from tuner.registry.native.torch_format import TorchFormat
    from tuner.registry.registry import Registry
    from tuner.registry.rules import PromotionRule, Rules

__all__ = ["OnnxFormat", "PromotionRule", "Registry", "Rules", "TorchFormat"]


def __getattr__(name: str) -> Any:
    """Import the registry, and SQLAlchemy with it, when it is first used."""
    if name == "Registry":
        from tuner.registry.registry import Registry

        return Registry
    if name in ("PromotionRule", "Rules"):
        from tuner.registry import rules

        return getattr(rules, name)
    if name == "OnnxFormat":
        from tuner.registry.native.onnx_format import OnnxFormat

        return OnnxFormat
    if name == "TorchFormat":
        from tuner.registry.native.torch_format import TorchFormat

        return TorchFormat
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
