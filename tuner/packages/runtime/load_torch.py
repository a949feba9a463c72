"""Loader of PyTorch modules: the constructor is called, and the weights are read as arrays only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .facts import facts_of, referred
from .inputs import as_array

REQUIRES = ("torch",)


def load(folder: Path, settings: dict[str, Any]) -> Callable[[Any], Any]:  # noqa: ARG001
    """Return a function from an array or a tensor to the module's output, on the CPU."""
    import torch

    facts = facts_of(folder)
    model = referred(facts["constructor"])(**facts["arguments"])
    state = torch.load(folder / "model.pt", map_location="cpu", weights_only=True)
    model.load_state_dict(state, strict=True)
    model.eval()
    parameter = next(iter(model.parameters()), None)

    def predict(data: Any) -> Any:
        tensor = torch.as_tensor(as_array(data))
        if parameter is not None and tensor.is_floating_point():
            tensor = tensor.to(parameter.dtype)
        with torch.inference_mode():
            found = model(tensor)
        return found.numpy() if isinstance(found, torch.Tensor) else found

    return predict
