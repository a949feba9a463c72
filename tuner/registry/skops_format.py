"""scikit-learn models in skops format, loaded without running code from the file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import RegistryError, UntrustedModel
from tuner.registry.trusted import VARIABLE, more_types

if TYPE_CHECKING:
    from tuner.registry.skops_archive import SkopsArchive
    from tuner.registry.skops_schema import SkopsSchema

FILE = "model.skops"

_OTHERWISE = "write format='pickle', allow_pickle=True to keep a pickle"


class SkopsFormat:
    """Format for scikit-learn estimators and pipelines (https://skops.readthedocs.io).

    Parameters
    ----------
    trusted
        Type names to allow in addition to the list in `tuner.registry.trusted`.
    """

    name = "skops"

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted = more_types(trusted)

    def accepts(self, model: Any) -> bool:
        """Whether it is a scikit-learn estimator; imports scikit-learn only for likely ones."""
        if not callable(getattr(model, "get_params", None)) or isinstance(model, type):
            return False
        from sklearn.base import BaseEstimator

        return isinstance(model, BaseEstimator)

    def save(self, model: Any, folder: Path) -> None:
        """Write ``model.skops``, after the model was loaded back by the rules of `load`.

        This test treats types that are not allowed as trusted; the user who loads the model must
        name them.

        Raises
        ------
        RegistryError
            If skops cannot save a part of the model, or the model would not load.
        """
        from skops import io

        kind = type(model).__name__
        try:
            content = io.dumps(model)
        except Exception as error:
            # skops passes on any exception of the model's own code; all of them mean the same here.
            raise RegistryError(
                f"model {kind} cannot be kept in skops format: {type(error).__name__}: {error}; "
                f"{_OTHERWISE}"
            ) from error
        try:
            _load_back(content, self._trusted)
        except Exception as error:
            raise RegistryError(
                f"model {kind} cannot be kept in skops format, as it would not load again: "
                f"{type(error).__name__}: {error}; {_OTHERWISE}"
            ) from error
        (folder / FILE).write_bytes(content)

    def load(self, folder: Path) -> Any:
        """Return the model.

        Raises
        ------
        UntrustedModel
            If it needs types that are not allowed; the message names them.
        RegistryError
            If the file is not a skops file, or the indices of its trees are out of range.
        """
        try:
            return load_skops((folder / FILE).read_bytes(), self._trusted)
        except UntrustedModel:
            raise
        except Exception as error:
            # Bytes that are not a skops model may raise any exception in skops.
            raise RegistryError(
                f"{FILE} cannot be read as a model: {type(error).__name__}: {error}"
            ) from error


def load_skops(content: bytes, trusted: frozenset[str]) -> Any:
    """Return the model of a skops file; `trusted` names are allowed in addition to the list."""
    from skops import io

    from tuner.registry.soundness import check_model

    archive, schema = _checked(content, trusted)
    if schema.untrusted:
        names = sorted(schema.untrusted)
        raise UntrustedModel(
            f"loading this model would create objects of types that are not allowed: "
            f"{', '.join(names)}; if you know them, write trusted={names!r}, or set {VARIABLE}"
        )
    model = io.loads(archive.stored(), trusted=sorted(schema.types))
    check_model(model, trusted)
    return model


def _load_back(content: bytes, trusted: frozenset[str]) -> None:
    """Load a model as a user would who trusts all of its types."""
    from tuner.registry.skops_values import resolve

    _, schema = _checked(content, trusted)
    # This process may be unable to import the module of a user's class.
    if all(resolve(name) is not None for name in schema.untrusted):
        load_skops(content, trusted | schema.untrusted)


def _checked(content: bytes, trusted: frozenset[str]) -> tuple[SkopsArchive, SkopsSchema]:
    from tuner.registry.skops_archive import SkopsArchive
    from tuner.registry.skops_schema import SkopsSchema

    archive = SkopsArchive(content)
    schema = SkopsSchema(archive, trusted)
    schema.check()
    return archive, schema
