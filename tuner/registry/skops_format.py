"""scikit-learn models in skops format, loaded without running code from the file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import RegistryError, UntrustedModel
from tuner.registry.load_failures import why_not_elsewhere, why_not_here
from tuner.registry.skops_library import skops_io
from tuner.registry.trusted import TRUSTED, VARIABLE, more_types

if TYPE_CHECKING:
    from tuner.registry.skops_archive import SkopsArchive
    from tuner.registry.skops_schema import SkopsSchema

FILE = "model.skops"


def _otherwise(model: Any) -> str:
    """Return the remedy for a model that skops cannot keep: a pickle, if one can be made."""
    from tuner.registry.value_formats import why_no_pickle

    reason = why_no_pickle(model)
    if reason:
        return f"a pickle cannot keep it either ({reason}): remove the part that cannot be saved"
    return (
        "write format='pickle', allow_pickle=True here and allow_pickle=True on loading to keep a "
        "pickle, whose loading runs code"
    )


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
            If skops cannot save a part of the model, the model would not load, or it has a class or
            function that another process cannot import, such as one of ``__main__``.
        """
        io = skops_io()
        kind = type(model).__name__
        try:
            content = io.dumps(model)
        except Exception as error:
            # skops passes on any exception of the model's own code; all of them mean the same here.
            raise RegistryError(
                f"model {kind} cannot be kept in skops format: {type(error).__name__}: {error}; "
                f"{_otherwise(model)}"
            ) from error
        try:
            names = sorted(_checked(content, frozenset())[1].untrusted)
            reason = _why(why_not_elsewhere, names)
            if not reason and all(name.rpartition(".")[0] in sys.modules for name in names):
                # Otherwise a class was shipped to this process by value; its file may be a script.
                load_skops(content, self._trusted.union(names))
        except Exception as error:
            raise RegistryError(
                f"model {kind} cannot be kept in skops format, as it would not load again: "
                f"{type(error).__name__}: {error}; {_otherwise(model)}"
            ) from error
        if reason:
            raise RegistryError(
                f"model {kind} cannot be kept in skops format: {reason}, so no other program can "
                f"import it; define it at the top of a module that can be imported, or "
                f"{_otherwise(model)}"
            )
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
    from tuner.registry.skops_values import resolve
    from tuner.registry.soundness import check_model

    io = skops_io()
    archive, schema = _checked(content, trusted)
    if schema.untrusted:
        for name in schema.types & TRUSTED:
            resolve(name)  # as loading does: the import of an estimator may define other modules
        raise _refusal(sorted(schema.untrusted))
    model = io.loads(archive.stored(), trusted=sorted(schema.types))
    check_model(model, trusted)
    return model


def types_in(content: bytes, trusted: Iterable[str] = ()) -> list[str]:
    """Return the names of the types in a skops file that `load_skops` accepts."""
    return sorted(_checked(content, more_types(trusted))[1].types)


def _refusal(names: list[str]) -> UntrustedModel:
    """Return the error for names that are not allowed, with advice that can work."""
    what = (
        f"loading this model would create objects of types that are not allowed: {', '.join(names)}"
    )
    if reason := _why(why_not_here, names):
        return UntrustedModel(
            f"{what}; to trust them is not enough, as they cannot be imported here: {reason}; load "
            f"the model where they can be imported",
            importable=False,
        )
    return UntrustedModel(f"{what}; if you know them, write trusted={names!r}, or set {VARIABLE}")


def _why(reason_of: Callable[[str], str], names: Iterable[str]) -> str:
    """Return the first reason that some name has, "" if none has one."""
    return next(filter(None, map(reason_of, names)), "")


def _checked(content: bytes, trusted: frozenset[str]) -> tuple[SkopsArchive, SkopsSchema]:
    from tuner.registry.skops_archive import SkopsArchive
    from tuner.registry.skops_schema import SkopsSchema

    archive = SkopsArchive(content)
    schema = SkopsSchema(archive, trusted)
    schema.check()
    return archive, schema
