"""Import from and export to other tools.

Each module covers one tool and imports it where it is used, so that a tool is needed only by its
users.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.integrations.dvc import export_dvc
    from tuner.integrations.importing import Imported
    from tuner.integrations.mlflow_import import import_mlflow
    from tuner.integrations.mlflow_mirror import MlflowMirror
    from tuner.integrations.optuna_import import import_optuna
    from tuner.integrations.tensorboard import export_tensorboard

__all__ = [
    "Imported",
    "MlflowMirror",
    "export_dvc",
    "export_tensorboard",
    "import_mlflow",
    "import_optuna",
]

_MODULES = {
    "Imported": "importing",
    "MlflowMirror": "mlflow_mirror",
    "export_dvc": "dvc",
    "export_tensorboard": "tensorboard",
    "import_mlflow": "mlflow_import",
    "import_optuna": "optuna_import",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
