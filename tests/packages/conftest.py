"""A registered pipeline on a table with categories and missing values, and its package."""

from __future__ import annotations

import pytest

import tuner
from support.packages import Registered, people, register


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Registered:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    table, labels = people()
    columns = make_column_transformer(
        (SimpleImputer(), ["age", "children"]),
        (OneHotEncoder(handle_unknown="ignore"), ["town", "color"]),
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(table, labels)
    folder = tmp_path_factory.mktemp("packages")
    register(folder / "store", model, example=table)
    exported = tuner.export_model("people", folder / "package", store=folder / "store")
    return Registered(folder / "store", table, exported.path)
