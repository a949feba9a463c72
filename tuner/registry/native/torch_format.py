"""PyTorch modules, kept as a state dict and the constructor of the module."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from tuner.errors import ArgumentError
from tuner.registry.limits import Refused
from tuner.registry.native import manifest
from tuner.registry.native.references import reference_to, resolve_reference
from tuner.registry.trusted import more_types
from tuner.registry.value_formats import is_plain

FILE = "model.pt"


class TorchFormat:
    """Format for `torch.nn.Module`: its state dict, and the call that makes the module again.

    Loading calls the constructor, so its name must be trusted: ``trusted=["package.module.Net"]``
    or the environment variable ``TUNER_TRUSTED_TYPES``. The state dict is read with
    ``weights_only=True``. The loaded module is on the CPU and in evaluation mode.

    Parameters
    ----------
    constructor
        A class or function at the top of a module, which returns the module without its weights.
        None stands for the class of the model.
    arguments
        Keyword arguments of the constructor: JSON values and tuples.
    trusted
        Names to allow on loading.

    Examples
    --------
    >>> def objective(params, trial):
    ...     net = train(Net(hidden=params["hidden"]))
    ...     trial.log_model(net, format=TorchFormat(Net, {"hidden": params["hidden"]}))
    ...     ...
    """

    name = "torch"
    libraries = ("torch",)

    def __init__(
        self,
        constructor: Callable[..., Any] | None = None,
        arguments: Mapping[str, Any] | None = None,
        *,
        trusted: Collection[str] = (),
    ) -> None:
        self._constructor, self._arguments = constructor, dict(arguments or {})
        self._trusted = more_types(trusted)
        if constructor is not None and not callable(constructor):
            raise ArgumentError(f"constructor={constructor!r:.80}: pass a class or a function")
        if not is_plain(self._arguments):
            raise ArgumentError(
                f"arguments={self._arguments!r:.80}: write a dict of plain values: numbers, texts, "
                f"lists and dicts"
            )

    def accepts(self, model: Any) -> bool:
        """Whether it is a module of PyTorch, and not a model of Keras."""
        torch, keras = manifest.imported("torch"), manifest.imported("keras")
        if torch is None or not isinstance(model, torch.nn.Module):
            return False
        return keras is None or not isinstance(model, keras.Model)

    def check(self, model: Any) -> None:
        """Check before the training that the constructor can be imported and makes such a model.

        Raises
        ------
        RegistryError
            If it cannot.
        """
        with manifest.saving(model, self.name, _REMEDY):
            self._check(model)

    def save(self, model: Any, folder: Path) -> None:
        """Write ``model.pt`` and ``format.json``.

        Raises
        ------
        RegistryError
            If the constructor cannot be imported by other programs, or makes another module.
        """
        torch = manifest.required("torch", self.name)
        with manifest.saving(model, self.name, _REMEDY):
            reference = self._check(model)
            state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
            buffer = io.BytesIO()
            torch.save(state, buffer)
            (folder / FILE).write_bytes(buffer.getvalue())
            manifest.write(folder, "torch", constructor=reference, arguments=self._arguments)
            # a model that cannot be loaded must not be registered
            TorchFormat(trusted=[reference.replace(":", ".")]).load(folder)

    def load(self, folder: Path) -> Any:
        """Return the module.

        Raises
        ------
        UntrustedModel
            If the constructor is not trusted, or the state dict is a pickle of other objects.
        RegistryError
            If the files do not have this format, or the weights do not fit the module.
        MissingExtra
            If PyTorch is not installed.
        """
        torch = manifest.required("torch", self.name)
        with manifest.reading("the PyTorch model"):
            from tuner.registry.native.torch_archive import checked

            found = manifest.read(folder, "torch")
            (content,) = found.only(FILE)
            arguments = found.table("arguments")
            archive = io.BytesIO(checked(content))
            reference = found.text("constructor")
            constructor = resolve_reference(reference, self._trusted, "call")
            state = torch.load(archive, map_location="cpu", weights_only=True)
            model = _made(torch, constructor, arguments)
            if not isinstance(model, torch.nn.Module):
                raise Refused(f"{reference} returned {type(model).__name__}, not a module")
            model.load_state_dict(state, strict=True)
            return model.eval()

    def _check(self, model: Any) -> str:
        """Return the reference to the constructor, after a call of it made such a module."""
        constructor = type(model) if self._constructor is None else self._constructor
        reference = reference_to(constructor)
        try:
            inspect.signature(constructor).bind(**self._arguments)
        except TypeError as error:
            raise Refused(f"its constructor {reference} cannot be called: {error}") from error
        made = _made(manifest.required("torch", self.name), constructor, self._arguments)
        if repr(made) != repr(model):
            raise Refused(f"{reference} with {self._arguments} makes another module: {made!r:.200}")
        return reference


def _made(torch: Any, constructor: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call a constructor, and leave the random generator of PyTorch as it was."""
    with torch.random.fork_rng(devices=[]):
        return constructor(**arguments)


_REMEDY = (
    "write format=tuner.registry.TorchFormat(Net, {'hidden': 32}) with the class or function that "
    "makes the module, and its keyword arguments"
)
