"""The life of a model: search, confirm, register, drift, alarm, re-tune, promotion, rollback.

A laboratory predicts whether a tumor is benign from measurements of cell images. A new microscope
changes the measurements. Run it with ``python examples/lifecycle.py``; it takes ten seconds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import tuner
from tuner.drift import check_model
from tuner.registry import PromotionRule, Registry, Rules

SPACE = {
    "C": tuner.Float(1e-4, 1e3, log=True),
    "l1_ratio": tuner.Float(0.0, 1.0),
    "balanced": tuner.Bool(),
}


def measurements() -> tuple[pd.DataFrame, pd.Series]:
    """Return six measurements of each tumor, and whether it is benign, in random order."""
    table = load_breast_cancer(as_frame=True)
    rows = table.frame.sample(frac=1.0, random_state=0)
    return rows.iloc[:, :6], rows["target"].rename("benign")


def new_microscope(X: pd.DataFrame) -> pd.DataFrame:
    """Return the measurements of a microscope that magnifies more and blurs the texture."""
    noise = np.random.default_rng(0).normal(0, 4, len(X))
    return X.assign(
        **{"mean area": X["mean area"] * 1.4, "mean texture": X["mean texture"] + noise}
    )


def model(params: dict[str, Any]) -> Pipeline:
    """Return an unfitted classifier."""
    classifier = LogisticRegression(
        C=params["C"],
        l1_ratio=params["l1_ratio"],
        solver="saga",
        class_weight="balanced" if params["balanced"] else None,
        max_iter=200,
        tol=1e-2,
    )
    return make_pipeline(StandardScaler(), classifier)


def objective(X: pd.DataFrame, y: pd.Series) -> Callable[..., float]:
    """Return the log loss of params on a table, in folds that depend on the trial's seed."""

    def log_loss(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
        folds = StratifiedKFold(3, shuffle=True, random_state=trial.seed % 2**32)
        scores = cross_val_score(model(params), X, y, cv=folds, scoring="neg_log_loss")
        return float(-scores.mean())

    return log_loss


def main(store: str | Path | None = None) -> None:
    """Tell the story, and keep its record in a store."""
    store = store or tempfile.mkdtemp()
    options: dict[str, Any] = {"backend": "serial", "progress": False}
    X, y = measurements()
    X_old, y_old = X[:250], y[:250]
    X_same, y_same = X[250:400], y[250:400]
    X_new, y_new = new_microscope(X[400:]), y[400:]

    # Search, confirm under fresh seeds, and register with the data.
    study = tuner.optimize(
        objective(X_old, y_old), SPACE, n_trials=20, data=(X_old, y_old), register=False,
        study="tumors", seed=1, store=store, **options,
    )  # fmt: skip
    winner = study.confirm(objective(X_old, y_old), runs=6, **options)
    print(f"search:   {len(study.trials)} trials, best log loss {study.best_value:.3f}")
    print(
        f"confirm:  true log loss {winner.value:.3f}, "
        f"between {winner.low:.3f} and {winner.high:.3f}"
    )

    version = study.register(
        "tumors", refit=lambda params: model(params).fit(X_old, y_old), data=(X_old, y_old)
    )
    registry = Registry(store)
    print(f"register: tumors@{version.version} is {', '.join(version.aliases)}")

    # From now on, a champion needs the approval of Ann.
    registry.set_rules("tumors", Rules((PromotionRule("champion", approved_by=("ann",)),)))

    # More data of the same microscope is fine; data of the new one raises the alarm.
    for when, data in (("monday", (X_same, y_same)), ("tuesday", (X_new, y_new))):
        report = check_model("tumors@champion", data, store=store)
        print(f"{when + ':':<9} {report.verdict}")

    # Tune again on the new data, from the configurations that were good on the old data.
    new_study = tuner.retune(
        "tumors@champion", objective(X_new, y_new), data=(X_new, y_new), n_trials=12, seed=1,
        refit=lambda params: model(params).fit(X_new, y_new), store=store, **options,
    )  # fmt: skip
    challenger = registry.get("tumors@challenger")
    print(f"re-tune:  {len(new_study.trials)} trials, log loss {new_study.winner.value:.3f}")
    print(f"rules:    tumors@{challenger.version} is challenger: {challenger.note}")

    # Ann approves it, and the rules make it champion.
    registry.approve("tumors@challenger", by="ann", why="checked on ten slides")
    decision = registry.promote("tumors@challenger", by="ann")
    print(f"promote:  tumors@{decision.version} is champion")
    for check in decision.checks:
        print(f"          {check.text}")
    calm = check_model("tumors@champion", (X_new, y_new), store=store)
    print(f"drift:    {calm.verdict}")

    # The old microscope returns, and so does the old model.
    back = registry.rollback("tumors", by="ann", why="the old microscope is back")
    print(f"rollback: tumors@{back.version} is champion")
    print("history:")
    for event in registry.history("tumors"):
        print(f"  {event.in_words()}")


if __name__ == "__main__":
    main()
