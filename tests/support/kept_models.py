"""A study whose trials save models, and the models that a collection must keep."""

from __future__ import annotations

import os
import time
from pathlib import Path

import tuner
from tuner.records import Run, State, Trial, Upload
from tuner.registry import Registry
from tuner.search_spaces import Float
from tuner.tracking import Batch, open_store
from tuner.tracking.uuid7 import uuid7

DAY = 86400.0


def model(content: int) -> Upload:
    return Upload("model", {"model.json": b"%d" % content}, kind="model", format="json")


class History:
    """A store with one study, and its expected content."""

    def __init__(self, folder: Path | str) -> None:
        self.study = tuner.create_study({"x": Float(0, 1)}, study="s", store=folder, seed=0)
        self.store = open_store(folder)
        self.n = 0

    def trial(self, value: float | None, contents: list[int]) -> Run:
        """Record a trial that keeps models; it runs still if `value` is None."""
        done = State.RUNNING if value is None else State.COMPLETED
        values = () if value is None else (value,)
        trial = Trial(self.n, {"x": 0.5}, done, values, attempts=1)
        run = Run(uuid7(), self.n, state=done)
        artifacts = [self.store.put_artifact(run.uid, model(c)) for c in contents]
        self.store.write(self.study.info.uid, Batch([trial], [run], [], artifacts))
        self.n += 1
        return run

    def register(self, number: int) -> None:
        trials = {t.number: t for t in self.study.trials}
        run = self.study.runs(number)[0]
        kept = [a for a in self.study.artifacts(run.uid) if a.kind == "model"]
        Registry(self.store).register(
            "m",
            study=self.study.info,
            trial=trials[number],
            run=run,
            artifact=kept[0] if kept else None,
            goal=self.study.info.goal,
            value=trials[number].values[0],
        )

    def age(self) -> None:
        """Make every file a day old."""
        then = time.time() - DAY
        for path in self.store.artifact_root.rglob("*"):
            os.utime(path, (then, then))


def all_paths(history: History) -> list[str]:
    from sqlalchemy import select

    from tuner.tracking import schema

    with history.store.reading() as connection:
        return list(connection.execute(select(schema.artifacts.c.path)).scalars())


def files(history: History) -> list[Path]:
    return [p for p in history.store.artifact_root.rglob("*") if p.is_file()]


def check_all_is_there(history: History) -> None:
    for artifact in history.study.artifacts():
        history.store.read_artifact(artifact)
    registry = Registry(history.store)
    for name in registry.models():
        for version in registry.versions(name):
            if version.artifact is not None:
                assert history.store.read_artifact(version.artifact)
