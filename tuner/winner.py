"""Registers the winner of a study as a model version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tuner.errors import RegistryError
from tuner.records import (
    Artifact,
    ModelVersion,
    Params,
    Run,
    State,
    StudyInfo,
    Trial,
    Upload,
)
from tuner.registry import Registry
from tuner.registry.formats import save_model
from tuner.registry.protocol import ModelFormat
from tuner.tracking.protocol import Batch


def register_winner(
    registry: Registry,
    info: StudyInfo,
    best: Trial,
    name: str,
    refit: Callable[[Params], Any] | None = None,
    *,
    format: str | ModelFormat | None = None,
    allow_pickle: bool = False,
) -> ModelVersion:
    """Register the best trial of a study under `name`, once.

    The model is the result of `refit` on the best params, else the model that the winning run
    logged. Without either, the version holds the configuration alone.

    Raises
    ------
    RegistryError
        If `refit` fails, or no format accepts what it made. The study is recorded all the same.
    """
    run = _winning_run(registry, info, best)
    known = registry.find_version(name, run.uid)
    if known is not None:
        return known
    artifact = _logged_model(registry, info, run)
    if refit is not None:
        kind, files = save_model(
            _refitted(info, best, refit), format=format, allow_pickle=allow_pickle
        )
        upload = Upload("refit", files, kind="model", format=kind)
        artifact = registry.store.put_artifact(run.uid, upload)
        registry.store.write(info.uid, Batch(artifacts=[artifact]))
    return registry.register(
        name,
        study=info,
        trial=best,
        run=run,
        artifact=artifact,
        goal=info.goal,
        value=best.values[0],
    )


def _winning_run(registry: Registry, info: StudyInfo, best: Trial) -> Run:
    runs = registry.store.runs(info.uid, best.number)
    *_, run = (r for r in runs if r.state is State.COMPLETED and not r.is_replay)
    return run


def _logged_model(registry: Registry, info: StudyInfo, run: Run) -> Artifact | None:
    """Return the model that the run logged: the one called "model", else the first by name."""
    models = [a for a in registry.store.artifacts(info.uid, run.uid) if a.kind == "model"]
    return min(models, key=lambda a: (a.name != "model", a.name), default=None)


def _refitted(info: StudyInfo, best: Trial, refit: Callable[[Params], Any]) -> Any:
    try:
        return refit(best.params)
    except Exception as error:
        raise RegistryError(
            f"study {info.name!r}: refit failed on the best params {best.params!r}: "
            f"{type(error).__name__}: {error}; the study itself is recorded"
        ) from error
