"""Which point next. One optimizer a file; `resolve` finds them by name."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError, UnknownOptimizer
from tuner.optimizers.description import options_of

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

OPTIMIZERS = {
    "auto": "tuner.optimizers.auto:AutoOptimizer",
    "random": "tuner.optimizers.random:RandomOptimizer",
    "tpe": "tuner.optimizers.tpe:TPEOptimizer",
    "bayesian": "tuner.optimizers.bayesian:BayesianOptimizer",
}
"""Where each optimizer is that has a name; imported when it is first used."""

_EXPORTS = dict(place.split(":")[::-1] for place in OPTIMIZERS.values()) | {
    "OptunaOptimizer": "tuner.optimizers.optuna_adapter",
    "SpaceOptimizer": "tuner.optimizers.base",
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

    choices = ", ".join(map(repr, OPTIMIZERS))
    if isinstance(spec, str):
        if spec not in OPTIMIZERS:
            close = difflib.get_close_matches(spec.lower(), OPTIMIZERS, n=2, cutoff=0.4)
            hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
            raise UnknownOptimizer(
                f"optimizer={spec!r}: there is no such optimizer; {hint}choose {choices}, or give "
                f"an Optimizer"
            )
        module, _, name = OPTIMIZERS[spec].partition(":")
        made: Optimizer = getattr(import_module(module), name)()
        return made
    given: object = spec
    if isinstance(given, type):
        raise ArgumentError(
            f"optimizer={given.__name__} is a class, not an optimizer: write {given.__name__}()"
        )
    if not isinstance(given, Optimizer):
        lacking = [name for name in ("reset", "ask", "tell") if not hasattr(given, name)]
        raise ArgumentError(
            f"optimizer={given!r} has no {', no '.join(lacking)}: choose {choices}, or give an "
            f"object with the methods of tuner.optimizers.protocol.Optimizer"
        )
    return given


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
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
