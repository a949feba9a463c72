"""The model of a package, behind its checksums and its signature."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from .errors import PackageError
from .manifest import CODE, MODEL, SIGNATURE, Manifest


class PackagedModel:
    """The model of the package in `folder`, with the method `predict`.

    Raises
    ------
    PackageError
        If a file was changed, or a library that the model needs is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.manifest = Manifest(folder)
        self.manifest.check()
        self.signature = _signature(folder)
        code = str(folder / CODE)  # with the user's modules, if the model needs some
        if code not in sys.path:
            sys.path.insert(0, code)
        loader = importlib.import_module(f"{__package__}.{self.manifest.loader}")
        try:
            self._predict = loader.load(folder / MODEL, self.manifest.settings)
        except ImportError as error:
            raise PackageError(
                f"{self.manifest.title}: {error}; run: pip install -r requirements.lock"
            ) from error

    def predict(self, data: Any) -> Any:
        """Return the predictions for a DataFrame or an array; the signature checks the data first.

        Raises
        ------
        SignatureError
            If the data does not have the columns, types or values of the signature.
        """
        return self._predict(data if self.signature is None else self.signature.check_inputs(data))


def _signature(folder: Path) -> Any:
    """Return the signature of the package, or None if it has none."""
    if not (folder / SIGNATURE).exists():
        return None
    module = importlib.import_module(f"{__package__}.signatures.signature")
    return module.Signature.from_dict(json.loads((folder / SIGNATURE).read_bytes()))
