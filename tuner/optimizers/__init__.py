"""Which point next. One optimizer a file; `resolve` finds them by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuner.errors import UnknownOptimizer
from tuner.optimizers.description import options_of
from tuner.plugins import Plugins

if TYPE_CHECKING:
    from tuner.optimizers.auto import AutoOptimizer
    from tuner.optimizers.base import SpaceOptimizer
    from tuner.optimizers.bayesian import BayesianOptimizer
    from tuner.optimizers.optuna_adapter import OptunaOptimizer
    from tuner.optimizers.protocol import Optimizer
    from tuner.optimizers.random import RandomOptimizer
    from tuner.optimizers.tpe import TPEOptimizer

__all__ = [
    "AutoOptimizer",
    "BayesianOptimizer",
    "OptunaOptimizer",
    "RandomOptimizer",
    "SpaceOptimizer",
    "TPEOptimizer",
    "describe",
    "resolve",
    "restore",
]

OPTIMIZERS = Plugins(
    "optimizer",
    "tuner.optimizers.protocol:Optimizer",
    {
        "auto": "tuner.optimizers.auto:AutoOptimizer",
        "random": "tuner.optimizers.random:RandomOptimizer",
        "tpe": "tuner.optimizers.tpe:TPEOptimizer",
        "bayesian": "tuner.optimizers.bayesian:BayesianOptimizer",
    },
    exports=(
        "tuner.optimizers.optuna_adapter:OptunaOptimizer",
        "tuner.optimizers.base:SpaceOptimizer",
    ),
    unknown=UnknownOptimizer,
)


def resolve(spec: str | Optimizer) -> Optimizer:
    """Return the optimizer that `spec` names, or `spec` itself.

    Raises
    ------
    UnknownOptimizer
        If there is none of that name; says which come close.
    ArgumentError
        If `spec` is no optimizer.
    """
    optimizer: Optimizer = OPTIMIZERS.resolve(spec)
    return optimizer


def restore(description: Mapping[str, Any]) -> Optimizer:
    """Return an optimizer like the one that `describe` was called on, its options included.

    Raises
    ------
    UnknownOptimizer
        If it has no name here: a user's own, or one of Optuna's.
    """
    optimizer = OPTIMIZERS.resolve(description.get("name", "auto"))
    known = inspect.signature(type(optimizer)).parameters
    restored: Optimizer = type(optimizer)(
        **{option: value for option, value in description.items() if option in known}
    )
    return restored


def describe(optimizer: Optimizer) -> dict[str, Any]:
    """Return what is recorded of an optimizer: its ``"name"``, and its options as JSON values.

    An optimizer may have a method ``describe()`` that says so itself; of another one it is the
    name of its class, and each attribute that is called as an argument of its constructor.
    """
    own = getattr(optimizer, "describe", None)
    if callable(own):
        return dict(own())
    return {"name": type(optimizer).__name__} | options_of(optimizer)


def __getattr__(name: str) -> Any:
    """Import an optimizer when it is first used."""
    return OPTIMIZERS.load(__name__, name)
