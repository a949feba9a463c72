"""The global random generators that objectives draw from: Python, NumPy and PyTorch.

PyTorch is seeded if it is imported when the trial starts; importing it takes seconds. Its CUDA
generators are seeded too, without initializing CUDA.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class GeneratorStates:
    """States of the global generators; PyTorch's are None if it is not imported.

    `cuda` is None before CUDA is initialized; `torch_seed` is then what it will begin with.
    """

    python: Any
    numpy: Any
    torch: Any = None
    torch_seed: int = 0
    cuda: Any = None


def state() -> GeneratorStates:
    """Return the states of the global generators."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (libraries use it)
    if (torch := _torch()) is None:
        return GeneratorStates(python, numpy)
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    return GeneratorStates(python, numpy, torch.get_rng_state(), torch.initial_seed(), cuda)


def seed(number: int) -> None:
    """Seed the global generators with a number in [0, 2**32)."""
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002
    if (torch := _torch()) is not None:
        torch.manual_seed(number)  # of every device; CUDA takes it when it is initialized


def restore(states: GeneratorStates) -> None:
    """Restore the states of the global generators."""
    random.setstate(states.python)
    np.random.set_state(states.numpy)  # noqa: NPY002
    torch = _torch()
    if torch is None or states.torch is None:
        return
    torch.set_rng_state(states.torch)
    if states.cuda is None:
        torch.cuda.manual_seed_all(states.torch_seed)
    else:
        torch.cuda.set_rng_state_all(states.cuda)


def _torch() -> Any:
    """Return PyTorch if it has been imported completely, else None."""
    torch: Any = sys.modules.get("torch")
    return torch if hasattr(torch, "manual_seed") and hasattr(torch, "cuda") else None
