"""Hyperparameter tuning with tracking.

>>> import tempfile, tuner
>>> study = tuner.optimize(
...     lambda params: (params["x"] - 2) ** 2,
...     {"x": tuner.Float(0, 4)},
...     n_trials=10, backend="serial", store=tempfile.mkdtemp(), progress=False,
... )
>>> sorted(study.best_params)
['x']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuner import errors
from tuner.errors import TrialStopped

if TYPE_CHECKING:
    from tuner import stop
    from tuner.backends import ProcessBackend, RayBackend, SerialBackend, SimulatedBackend
    from tuner.engine.worker.trial import LiveTrial
    from tuner.packages.export import export_model
    from tuner.provenance.compare import compare
    from tuner.provenance.replay import replay
    from tuner.query.result import find
    from tuner.records import State, Trial
    from tuner.registry.card import model_card
    from tuner.registry.lineage import lineage
    from tuner.registry.models import (
        delete_alias,
        delete_model,
        list_models,
        load_model,
        set_alias,
    )
    from tuner.search_spaces import (
        Bool,
        Choice,
        Const,
        Float,
        Int,
        Normal,
        Ordinal,
        P,
        Repeat,
        Space,
    )
    from tuner.signatures import Signature
    from tuner.study import Study
    from tuner.study.create import create_study, list_studies, load_study
    from tuner.study.optimize import optimize
    from tuner.study.retune import retune
    from tuner.study.tidy import archive_study, delete_study, rename_study, unarchive_study

__all__ = [
    "Bool",
    "Choice",
    "Const",
    "Float",
    "Int",
    "LiveTrial",
    "Normal",
    "Ordinal",
    "P",
    "ProcessBackend",
    "RayBackend",
    "Repeat",
    "SerialBackend",
    "Signature",
    "SimulatedBackend",
    "Space",
    "State",
    "Study",
    "Trial",
    "TrialStopped",
    "archive_study",
    "compare",
    "create_study",
    "delete_alias",
    "delete_model",
    "delete_study",
    "errors",
    "export_model",
    "find",
    "lineage",
    "list_models",
    "list_studies",
    "load_model",
    "load_study",
    "model_card",
    "optimize",
    "rename_study",
    "replay",
    "retune",
    "set_alias",
    "stop",
    "unarchive_study",
]

_LAZY = {
    "LiveTrial": "tuner.engine.worker.trial",
    "ProcessBackend": "tuner.backends",
    "RayBackend": "tuner.backends",
    "SerialBackend": "tuner.backends",
    "Signature": "tuner.signatures",
    "SimulatedBackend": "tuner.backends",
    "State": "tuner.records",
    "Study": "tuner.study",
    "Trial": "tuner.records",
    **dict.fromkeys(
        ("Bool", "Choice", "Const", "Float", "Int", "Normal", "Ordinal", "P", "Repeat", "Space"),
        "tuner.search_spaces",
    ),
    "create_study": "tuner.study.create",
    "load_study": "tuner.study.create",
    "optimize": "tuner.study.optimize",
    "compare": "tuner.provenance.compare",
    "export_model": "tuner.packages.export",
    "find": "tuner.query.result",
    "lineage": "tuner.registry.lineage",
    "list_models": "tuner.registry.models",
    "list_studies": "tuner.study.create",
    "load_model": "tuner.registry.models",
    "model_card": "tuner.registry.card",
    "replay": "tuner.provenance.replay",
    "retune": "tuner.study.retune",
    **dict.fromkeys(("delete_alias", "delete_model", "set_alias"), "tuner.registry.models"),
    **dict.fromkeys(
        ("archive_study", "delete_study", "rename_study", "unarchive_study"), "tuner.study.tidy"
    ),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        return version("tuner")
    if name == "stop":
        from importlib import import_module

        return import_module("tuner.stop")
    if name in _LAZY:
        from importlib import import_module

        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'tuner' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
