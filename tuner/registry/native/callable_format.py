"""Functions by reference: the file names a function, and loading imports it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from types import FunctionType
from typing import Any

from tuner.errors.notices import warn
from tuner.registry.native import manifest
from tuner.registry.native.references import reference_to, resolve_reference
from tuner.registry.trusted import more_types


class FunctionModel:
    """A loaded function, which predicts by a call.

    Attributes
    ----------
    function : callable
        The function.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def predict(self, data: Any) -> Any:
        """Return the result of the function for `data`."""
        return self.function(data)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"FunctionModel({self.function.__module__}.{self.function.__qualname__})"


class CallableFormat:
    """Format for functions of modules that can be imported; keeps the name, not the code.

    Loading imports the function's module, so its name must be trusted:
    ``trusted=["package.module.function"]``. It warns if the source has changed since.

    Parameters
    ----------
    trusted
        Names to allow on loading.
    """

    name = "callable"

    def __init__(self, trusted: Collection[str] = ()) -> None:
        self._trusted = more_types(trusted)

    def accepts(self, model: Any) -> bool:
        """Whether it is a function of Python, or one that this format has loaded."""
        return type(model) in (FunctionType, FunctionModel)

    def check(self, model: Any) -> None:
        """Check that other programs can import the function; raises `RegistryError`."""
        with manifest.saving(model, self.name):
            reference_to(_function_of(model))

    def save(self, model: Any, folder: Path) -> None:
        """Write ``format.json``.

        Raises
        ------
        RegistryError
            If the function is a lambda, of ``__main__``, within a function, or its name leads to
            another object.
        """
        with manifest.saving(model, self.name):
            function = _function_of(model)
            reference = reference_to(function)
            manifest.write(folder, "", function=reference, source=_fingerprint(function))

    def load(self, folder: Path) -> FunctionModel:
        """Return the function.

        Raises
        ------
        UntrustedModel
            If its name is not trusted; nothing is imported.
        RegistryError
            If the file does not have this format, or there is no such function.
        """
        with manifest.reading("the function"):
            found = manifest.read(folder, "")
            found.only()
            reference = found.text("function")
            function = resolve_reference(reference, self._trusted, "return")
            if not callable(function):
                raise TypeError(f"{reference} is not callable")
            if _fingerprint(function) != found.facts.get("source"):
                warn(f"the source of {reference} has changed since this model was saved")
            return FunctionModel(function)


def _function_of(model: Any) -> Any:
    return model.function if isinstance(model, FunctionModel) else model


def _fingerprint(function: Any) -> str:
    """Return the SHA-256 of the source, "" if it is not known."""
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()
    except (OSError, TypeError):
        return ""
