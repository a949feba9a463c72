"""scikit-learn models in skops format: read without running code that came with the file."""

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
        """Write ``model.skops``, once it was loaded back by the rules of `load`.

        Types that nobody allowed yet are taken as trusted for that: whoever loads the model must
        name them.

        Raises
        ------
        RegistryError
            If skops cannot keep a part of the model, or the model would not load.
        """
        from skops import io

        kind = type(model).__name__
        try:
            content = io.dumps(model)
        except Exception as error:
            # skops raises whatever the model's own code raises; all of it means the same here.
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

    from tuner.registry.soundness import check_model

    archive, schema = _checked(content, trusted)
    if schema.untrusted:
        names = sorted(schema.untrusted)
        raise UntrustedModel(
            f"loading this model would make objects of types that nobody allowed: "
            f"{', '.join(names)}; if you know them, write trusted={names!r}, or set {VARIABLE}"
        )
    model = io.loads(archive.stored(), trusted=sorted(schema.types))
    check_model(model, trusted)
    return model


def _load_back(content: bytes, trusted: frozenset[str]) -> None:
    """Load a model as somebody would who trusts all of its types."""
    from tuner.registry.skops_values import resolve

    _, schema = _checked(content, trusted)
    # A class of the user's may be in no module that this process can import.
    if all(resolve(name) is not None for name in schema.untrusted):
        load_skops(content, trusted | schema.untrusted)


def _checked(content: bytes, trusted: frozenset[str]) -> tuple[SkopsArchive, SkopsSchema]:
    from tuner.registry.skops_archive import SkopsArchive
    from tuner.registry.skops_schema import SkopsSchema

    archive = SkopsArchive(content)
    schema = SkopsSchema(archive, trusted)
    schema.check()
    return archive, schema
