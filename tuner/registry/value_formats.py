"""Formats of Python values: JSON for plain values, pickle for any object if the user allows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tuner.errors import RegistryError, UntrustedModel
from tuner.records import decode_params, encode_params
from tuner.registry.limits import Budget

JSON_FILE = "model.json"

_SCALARS = (type(None), bool, int, float, str)


class JsonFormat:
    """Format for JSON values and tuples: dicts with string keys, lists, numbers, strings.

    It does not accept a value of a derived type, such as a named tuple or a NumPy float, because
    the value would load as another type.
    """

    name = "json"

    def accepts(self, model: Any) -> bool:
        """Whether the model consists of plain values only."""
        try:
            return is_plain(model)
        except RecursionError:
            return False  # contains itself, or is nested too deep for JSON

    def save(self, model: Any, folder: Path) -> None:
        """Write ``model.json``; raises `RegistryError` if JSON cannot represent the model."""
        try:
            text = json.dumps(encode_params({"model": model}), indent=1)
        except (TypeError, ValueError, RecursionError) as error:
            raise RegistryError(
                f"model {type(model).__name__} cannot be kept as JSON: "
                f"{type(error).__name__}: {error}; keep plain values only"
            ) from error
        (folder / JSON_FILE).write_text(text, encoding="utf-8")
        self.load(folder)  # a model that cannot be loaded must not be registered

    def load(self, folder: Path) -> Any:
        """Return the value; raises `RegistryError` if the file does not have this format."""
        try:
            text = (folder / JSON_FILE).read_bytes()
            Budget(len(text)).spend_json(text)
            return decode_params(json.loads(text.decode("utf-8")))["model"]
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AssertionError,
            AttributeError,
            RecursionError,
        ) as error:
            raise RegistryError(
                f"{JSON_FILE} cannot be read as a model: {type(error).__name__}: {error}"
            ) from error


def is_plain(value: Any) -> bool:
    """Whether a value consists of JSON values and tuples, all of exactly these types."""
    if type(value) in (list, tuple):
        return all(map(is_plain, value))
    if type(value) is dict:
        return all(type(k) is str and is_plain(v) for k, v in value.items())
    return type(value) in _SCALARS


PICKLE_FILE = "model.pkl"


class PickleFormat:
    """Format for any object, by cloudpickle. Loading runs any code that the file contains.

    Parameters
    ----------
    allowed
        Whether loading is allowed.
    """

    name = "pickle"

    def __init__(self, allowed: bool = False) -> None:
        self._allowed = allowed

    def accepts(self, model: Any) -> bool:  # noqa: ARG002 (that is the point of it)
        """Always True: only an attempt to save shows whether an object can be pickled."""
        return True

    def save(self, model: Any, folder: Path) -> None:
        """Write ``model.pkl``; raises `RegistryError` if the object cannot be pickled."""
        import cloudpickle

        try:
            content = cloudpickle.dumps(model)
        except Exception as error:
            # Any exception of the object's own code means that it cannot be saved.
            raise RegistryError(
                f"model {type(model).__name__} cannot be pickled: {type(error).__name__}: {error}"
            ) from error
        (folder / PICKLE_FILE).write_bytes(content)

    def load(self, folder: Path) -> Any:
        """Return the object.

        Raises
        ------
        UntrustedModel
            Unless loading pickles is allowed.
        RegistryError
            If the object cannot be restored.
        """
        if not self._allowed:
            raise UntrustedModel(
                "this model is a pickle, and loading it runs whatever code is in it; if you trust "
                "who made it, write load_model(..., allow_pickle=True)"
            )
        import cloudpickle

        try:
            return cloudpickle.loads((folder / PICKLE_FILE).read_bytes())
        except Exception as error:
            # A pickle may raise anything.
            raise RegistryError(
                f"{PICKLE_FILE} cannot be read as a model: {type(error).__name__}: {error}"
            ) from error


class _Nowhere:
    """A file that discards everything written to it."""

    def write(self, data: Any) -> int:
        return memoryview(data).nbytes


def why_no_pickle(model: Any) -> str:
    """Return why an object cannot be pickled, "" if it can; the pickle is not kept in memory."""
    import cloudpickle

    try:
        cloudpickle.dump(model, _Nowhere())
    except Exception as error:
        # Any exception of the object's own code means that it cannot be saved.
        return f"{type(error).__name__}: {error}"
    return ""
