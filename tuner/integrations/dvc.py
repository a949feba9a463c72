"""Params and metrics of a trial as files that DVC shows and compares."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tuner.errors import ArgumentError, ExportError
from tuner.errors.boundary import public
from tuner.errors.printable import well_formed
from tuner.records import Trial

if TYPE_CHECKING:
    from tuner.study import Study

PARAMS, METRICS = "params.yaml", "metrics.json"


@public(files=ExportError)
def export_dvc(study: Study, folder: str | Path = ".", *, trial: int | None = None) -> list[Path]:
    """Write ``params.yaml`` and ``metrics.json`` of a trial, and return both paths.

    Existing files are replaced. If both are committed, ``dvc params diff`` and ``dvc metrics diff``
    compare two exports; ``dvc metrics show metrics.json`` works without a
    ``dvc.yaml``.

    Parameters
    ----------
    study
        The study.
    folder
        The target folder, created if it does not exist.
    trial
        A trial's number; the best one if None.

    Raises
    ------
    ArgumentError
        If the study does not have this trial.
    NoCompletedTrial, SeveralGoals
        If `trial` is None and the study does not have a best trial.
    ExportError
        If the files cannot be written.
    """
    chosen = study.best_trial if trial is None else _trial(study, trial)
    nested: dict[str, Any] = {}
    for path, value in study.space.flatten(chosen.params).items():
        _put(nested, path.split("."), value)
    metrics = {
        **chosen.metrics,
        **{g.metric: v for g, v in zip(study.goals, chosen.values, strict=False)},
    }
    finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
    params_text = yaml.safe_dump(
        {"study": study.name, "trial": chosen.number, "seed": chosen.seed, "params": nested},
        sort_keys=False,
        allow_unicode=True,
    )
    root = Path(folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / PARAMS).write_text(well_formed(params_text), encoding="utf-8")
        (root / METRICS).write_text(json.dumps(finite, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ExportError(
            f"export: cannot write DVC's files to {root}: {error.strerror or error}; "
            f"give a folder that you may write to"
        ) from error
    return [root / PARAMS, root / METRICS]


def _trial(study: Study, number: int) -> Trial:
    for trial in study:
        if trial.number == number:
            return trial
    raise ArgumentError(f"study {study.name!r} has no trial {number}; they count from 0")


def _put(nested: dict[str, Any], path: list[str], value: Any) -> None:
    """Put a value at its path; a branch is a dict of its option's name and its parameters."""
    name, *rest = path
    if not rest:
        value = list(value) if isinstance(value, tuple) else value
        if isinstance(nested.get(name), dict):  # of a name with dots, such as "lr.decay"
            nested[name]["option"] = value
        else:
            nested[name] = value
        return
    inner = nested.get(name)
    if not isinstance(inner, dict):
        # A choice comes before the parameters of its branch.
        inner = nested[name] = {} if inner is None else {"option": inner}
    _put(inner, rest, value)
