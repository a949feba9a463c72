"""Any Python object as a pickle: only if the user allows it, on saving and on loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tuner.errors import RegistryError, UntrustedModel

FILE = "model.pkl"


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
        (folder / FILE).write_bytes(content)

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
            return cloudpickle.loads((folder / FILE).read_bytes())
        except Exception as error:
            # A pickle may raise anything.
            raise RegistryError(
                f"{FILE} cannot be read as a model: {type(error).__name__}: {error}"
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
