"""A registered pipeline on a table with categories and missing values, and its package."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import tuner

if TYPE_CHECKING:
    import pytest


class Registered(NamedTuple):
    """A model in a store, and the table it was fitted on."""

    store: Path
    table: Any
    folder: Path
    """Its package."""

    @property
    def expected(self) -> list[str]:
        return list(tuner.load_model("people@1", store=self.store).predict(self.table))


def register(store: Path, model: Any, **options: Any) -> tuner.records.ModelVersion:
    study = tuner.create_study({"x": tuner.Int(1, 9)}, store=store, study="people")
    study.tell(study.ask(), 1.0)
    return study.register("people", refit=lambda params: model, **options)


def people() -> tuple[Any, list[str]]:
    """Return a table with numbers, texts and categories, all with missing values, and labels."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(7)
    table = pd.DataFrame(
        {
            "age": rng.normal(40, 10, 60),
            "children": rng.integers(0, 5, 60),
            "town": rng.choice(["Rome", "Oslo", "NA", "007"], 60),
            "color": pd.Categorical(rng.choice(["red", "blue"], 60)),
        }
    )
    table.loc[3, "age"] = None
    table.loc[5, "town"] = None
    table.loc[8, "color"] = None
    return table, ["yes" if draw < 0.5 else "no" for draw in rng.random(60)]


def code_of(folder: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a module of a package, imported into this process."""
    monkeypatch.syspath_prepend(str(folder / "src"))
    package = json.loads((folder / "manifest.json").read_text())["module"]
    return importlib.import_module(f"{package}.{module}")
