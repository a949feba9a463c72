"""Modules of PyTorch for the tests of formats; imports PyTorch."""

from __future__ import annotations

from typing import Any

import torch


class Net(torch.nn.Module):
    """A small network."""

    def __init__(self, hidden: int = 4, rate: float = 0.1) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(3, hidden),
            torch.nn.BatchNorm1d(hidden),
            torch.nn.Dropout(rate),
            torch.nn.Linear(hidden, 2),
        )

    def forward(self, x: Any) -> Any:
        return self.layers(x)


class Wide(torch.nn.Module):
    """A network whose constructor needs an argument."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, hidden, dtype=torch.float64)
        self.tied = self.layer

    def forward(self, x: Any) -> Any:
        return self.layer(x)


def make_net(hidden: int) -> Net:
    return Net(hidden=hidden)


def make_table() -> dict[str, int]:
    return {}
