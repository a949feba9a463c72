"""The life of a model: search, confirm, register, serve, drift, re-tune, promotion, rollback.

A laboratory predicts whether a tumor is benign from measurements of cell images. A new microscope
changes the measurements. Run it with ``python examples/lifecycle.py``; it takes ten seconds.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import uvicorn
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import tuner
from tuner.drift import check_model
from tuner.registry import PromotionRule, Registry, Rules
from tuner.serving import app

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


@contextmanager
def served(ref: str, store: str | Path) -> Iterator[str]:
    """Serve a model by HTTP in a thread, as ``tuner models serve`` does, and provide its URL."""
    config = uvicorn.Config(app(ref, store=store), port=0, log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def predict(url: str, rows: pd.DataFrame) -> list[int]:
    """Return the predictions of a served model."""
    body = json.dumps(rows.to_dict("records")).encode()
    request = Request(f"{url}/predict", body, {"Content-Type": "application/json"})
    with urlopen(request) as answer:
        return json.load(answer)["predictions"]


def main(store: str | Path | None = None) -> None:
    """Tell the story, and keep its record in a store."""
    store = store or tempfile.mkdtemp()
    options: dict[str, Any] = {"backend": "serial", "progress": False}
    X, y = measurements()
    X_old, y_old = X[:250], y[:250]
    X_same = X[250:400]
    X_new, y_new = new_microscope(X[400:]), y[400:]

    # Search, confirm under fresh seeds, and register with the data.
    study = tuner.optimize(
        objective(X_old, y_old), SPACE, n_trials=20, data=(X_old, y_old), register=False,
        study="tumors", seed=1, store=store, **options,
    )  # fmt: skip
    winner = study.confirm(objective(X_old, y_old), runs=6, **options)
    print(f"search:   {len(study.trials)} trials, best log loss {study.best_value:.3f}")
    between = f"{winner.low:.3f} to {winner.high:.3f}"
    print(f"confirm:  true log loss {winner.value:.3f}, 95 % interval {between}")

    version = study.register(
        "tumors", refit=lambda params: model(params).fit(X_old, y_old), example=X_old,
        data=(X_old, y_old),
    )  # fmt: skip
    registry = Registry(store)
    print(f"register: tumors@{version.version} is {', '.join(version.aliases)}")

    # From now on, a champion needs the approval of Ann.
    registry.set_rules("tumors", Rules((PromotionRule("champion", approved_by=("ann",)),)))

    # The server keeps a sample of its rows. A new microscope arrives on Tuesday, and the check of
    # the sample raises the alarm.
    for day, rows in (("monday", X_same), ("tuesday", X_new)):
        begin = datetime.now(UTC)
        with served("tumors@champion", store) as url:
            benign = np.mean(predict(url, rows))
        sample = registry.served_samples("tumors", since=begin)
        report = check_model("tumors@champion", sample, store=store)
        print(f"{day + ':':<9} {len(rows)} rows served, {benign:.0%} benign; {report.verdict}")

    # The labels arrive later, and tell how the model does.
    report = check_model("tumors@champion", (X_new, y_new), store=store)
    accuracy = (report.reference.quality.mean, report.new.quality.mean)
    print("labels:   accuracy {:.3f}, was {:.3f}".format(*reversed(accuracy)))

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
