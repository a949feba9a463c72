"""scikit-learn models in skops format: read without running code that came with the file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tuner.errors import RegistryError, UntrustedModel
from tuner.registry.trusted import VARIABLE, more_types

FILE = "model.skops"


class SkopsFormat:
    """Keeps scikit-learn estimators, pipelines of them included (https://skops.readthedocs.io).

    Parameters
    ----------
    trusted
        Type names to allow besides those of `tuner.registry.trusted`.
    """

    name = "skops"

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted = more_types(trusted)

    def accepts(self, model: Any) -> bool:
        """Whether it is a scikit-learn estimator; others are not imported to find out."""
        if not callable(getattr(model, "get_params", None)) or isinstance(model, type):
            return False
        from sklearn.base import BaseEstimator

        return isinstance(model, BaseEstimator)

    def save(self, model: Any, folder: Path) -> None:
        """Write ``model.skops``.

        Raises
        ------
        RegistryError
            If skops cannot keep a part of the model.
        """
        from skops import io

        try:
            io.dump(model, folder / FILE)
        except Exception as error:
            # skops raises whatever the model's own code raises; all of it means the same here.
            raise RegistryError(
                f"model {type(model).__name__} cannot be kept in skops format: "
                f"{type(error).__name__}: {error}; write format='pickle', allow_pickle=True to "
                f"keep a pickle"
            ) from error

    def load(self, folder: Path) -> Any:
        """Return the model.

        Raises
        ------
        UntrustedModel
            If it needs types that nobody allowed; names them.
        RegistryError
            If the file is not one of skops, or holds trees whose indices lead out of them.
        """
        try:
            return load_skops((folder / FILE).read_bytes(), self._trusted)
        except UntrustedModel:
            raise
        except Exception as error:
            # Bytes that are no model of skops may raise anything on their way through it.
            raise RegistryError(
                f"{FILE} cannot be read as a model: {type(error).__name__}: {error}"
            ) from error


def load_skops(content: bytes, trusted: frozenset[str]) -> Any:
    """Return the model of a skops file; `trusted` are names to allow besides the list."""
    from skops import io

    from tuner.registry.skops_archive import SkopsArchive
    from tuner.registry.skops_schema import SkopsSchema
    from tuner.registry.soundness import check_model

    archive = SkopsArchive(content)
    schema = SkopsSchema(archive, trusted)
    schema.check()
    if schema.untrusted:
        raise _untrusted(sorted(schema.untrusted))
    model = io.loads(archive.stored(), trusted=sorted(schema.types))
    check_model(model, trusted)
    return model


def _untrusted(names: list[str]) -> UntrustedModel:
    listed = ", ".join(sorted(names))
    return UntrustedModel(
        f"loading this model would make objects of types that nobody allowed: {listed}; if you "
        f"know them, write trusted={sorted(names)!r}, or set {VARIABLE}"
    )
