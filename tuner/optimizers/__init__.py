"""Which point next. One optimizer a file; `resolve` finds them by name."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError, UnknownOptimizer

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
]

_NAMES = {
    "auto": "AutoOptimizer",
    "random": "RandomOptimizer",
    "tpe": "TPEOptimizer",
    "bayesian": "BayesianOptimizer",
}
_MODULES = {
    "AutoOptimizer": "tuner.optimizers.auto",
    "BayesianOptimizer": "tuner.optimizers.bayesian",
    "OptunaOptimizer": "tuner.optimizers.optuna_adapter",
    "RandomOptimizer": "tuner.optimizers.random",
    "SpaceOptimizer": "tuner.optimizers.base",
    "TPEOptimizer": "tuner.optimizers.tpe",
}


def resolve(spec: str | Optimizer) -> Optimizer:
    """Return the optimizer that `spec` names, or `spec` itself.

    Raises
    ------
    UnknownOptimizer
        If there is none of that name; says which come close.
    ArgumentError
        If `spec` is no optimizer.
    """
    from tuner.optimizers.protocol import Optimizer

    if isinstance(spec, str):
        if spec not in _NAMES:
            close = difflib.get_close_matches(spec, _NAMES, n=2, cutoff=0.4)
            hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
            raise UnknownOptimizer(
                f"optimizer={spec!r}: there is no such optimizer; {hint}"
                f"choose {', '.join(map(repr, _NAMES))}, or give an Optimizer"
            )
        made: Optimizer = __getattr__(_NAMES[spec])()
        return made
    if isinstance(spec, type) or not isinstance(spec, Optimizer):
        hint = (
            f"write {spec.__name__}()" if isinstance(spec, type) else "it has no reset, ask, tell"
        )
        raise ArgumentError(
            f"optimizer={spec!r} is no optimizer: {hint}; choose {', '.join(map(repr, _NAMES))}, "
            f"or give an object with the methods of tuner.optimizers.protocol.Optimizer"
        )
    return spec


def describe(optimizer: Optimizer) -> dict[str, Any]:
    """Return what is recorded of an optimizer: its ``"name"``, and its options as JSON values."""
    own = getattr(optimizer, "describe", None)
    if callable(own):
        return dict(own())
    return {"name": type(optimizer).__name__}


def __getattr__(name: str) -> Any:
    """Import an optimizer when it is first used."""
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
