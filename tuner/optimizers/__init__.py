"""Optimizers: they suggest the next point. One file per optimizer; `resolve` finds them by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuner.errors import UnknownOptimizer
from tuner.plugins import Plugins

if TYPE_CHECKING:
    from tuner.optimizers.auto import AutoOptimizer
    from tuner.optimizers.base import SpaceOptimizer
    from tuner.optimizers.bayesian.optimizer import BayesianOptimizer
    from tuner.optimizers.grid import GridOptimizer
    from tuner.optimizers.optuna_adapter import OptunaOptimizer
    from tuner.optimizers.protocol import Optimizer
    from tuner.optimizers.random import RandomOptimizer
    from tuner.optimizers.tpe import TPEOptimizer
    from tuner.optimizers.transfer import TransferOptimizer

__all__ = [
    "AutoOptimizer",
    "BayesianOptimizer",
    "GridOptimizer",
    "OptunaOptimizer",
    "RandomOptimizer",
    "SpaceOptimizer",
    "TPEOptimizer",
    "TransferOptimizer",
    "describe",
    "resolve",
    "restore",
]

OPTIMIZERS = Plugins(
    "optimizer",
    "tuner.optimizers",
    "tuner.optimizers.protocol:Optimizer",
    {
        "auto": "tuner.optimizers.auto:AutoOptimizer",
        "random": "tuner.optimizers.random:RandomOptimizer",
        "tpe": "tuner.optimizers.tpe:TPEOptimizer",
        "bayesian": "tuner.optimizers.bayesian.optimizer:BayesianOptimizer",
        "grid": "tuner.optimizers.grid:GridOptimizer",
        "transfer": "tuner.optimizers.transfer:TransferOptimizer",
    },
    exports=(
        "tuner.optimizers.optuna_adapter:OptunaOptimizer",
        "tuner.optimizers.base:SpaceOptimizer",
    ),
    unknown=UnknownOptimizer,
)


def resolve(spec: str | Optimizer) -> Optimizer:
    """Return the optimizer named `spec`, or `spec` itself if it is an optimizer.

    Raises
    ------
    UnknownOptimizer
        If the name is unknown; the message suggests similar names.
    ArgumentError
        If `spec` is neither a name nor an optimizer.
    """
    optimizer: Optimizer = OPTIMIZERS.resolve(spec)
    return optimizer


def restore(description: Mapping[str, Any]) -> Optimizer:
    """Create an optimizer with its options from the result of `describe`.

    Raises
    ------
    UnknownOptimizer
        If the name is not registered: a user-defined optimizer, or an Optuna sampler.
    """
    optimizer = OPTIMIZERS.resolve(description.get("name", "auto"))
    known = inspect.signature(type(optimizer)).parameters
    restored: Optimizer = type(optimizer)(
        **{option: value for option, value in description.items() if option in known}
    )
    return restored


def describe(optimizer: Optimizer) -> dict[str, Any]:
    """Return the recorded description of an optimizer: its ``"name"`` and its options as JSON.

    An optimizer may define this in a method ``describe()``. Otherwise the name is the name of its
    class, and the options are the attributes named like the arguments of its constructor.
    """
    from tuner.optimizers.base import options_of

    own = getattr(optimizer, "describe", None)
    if callable(own):
        return dict(own())
    return {"name": type(optimizer).__name__} | options_of(optimizer)


def __getattr__(name: str) -> Any:
    """Import an optimizer on first use."""
    return OPTIMIZERS.load(__name__, name)
