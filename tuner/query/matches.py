"""Matches of a query, and a table of matches whose columns are named as in queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from tuner.records import ModelVersion, Params, Run, StudyInfo, Trial, ValueEstimate
from tuner.search_spaces import Space

if TYPE_CHECKING:
    from tuner.tracking.store import Store

_GROUPS = ("params.", "metrics.", "constraints.", "notes.", "tags.")
"""Prefixes of the columns that vary between matches; they follow the fixed columns."""


class FoundTrial(NamedTuple):
    """A trial and the name of its study."""

    study: str
    trial: Trial


class FoundRun(NamedTuple):
    """A run and the name of its study."""

    study: str
    run: Run


Match: TypeAlias = FoundTrial | FoundRun | StudyInfo | ModelVersion
"""A match: its type depends on the subject of the search."""


def flat_rows(store: Store, matches: Iterable[Match]) -> list[dict[str, Any]]:
    """Return one row per match; all have the same columns, with None for missing values."""
    spaces = _Spaces(store)
    table = [_row(match, spaces) for match in matches]
    names = list(dict.fromkeys(name for row in table for name in row))
    fixed = [name for name in names if not name.startswith(_GROUPS)]
    grouped = [name for group in _GROUPS for name in names if name.startswith(group)]
    return [{name: row.get(name) for name in [*fixed, *grouped]} for row in table]


class _Spaces:
    """A cache of search spaces by study name."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Space | None] = {}

    def flatten(self, study: str, params: Params) -> dict[str, Any]:
        if study not in self._known:
            info = self._store.find_study(study)
            self._known[study] = Space.from_dict(info.space) if info and info.space else None
        space = self._known[study]
        return params if space is None else space.flatten(params)


def _row(match: Match, spaces: _Spaces) -> dict[str, Any]:
    if isinstance(match, StudyInfo):
        return _study(match)
    if isinstance(match, ModelVersion):
        return _model(match, spaces)
    return _trial(match, spaces) if isinstance(match, FoundTrial) else _run(match)


def _trial(match: FoundTrial, spaces: _Spaces) -> dict[str, Any]:
    study, trial = match
    return {
        "study": study,
        "number": trial.number,
        "state": trial.state.value,
        "value": trial.value,
        "duration": trial.duration,
        "started": trial.started,
        "error": None if trial.error is None else str(trial.error),
        **_group("params", spaces.flatten(study, trial.params)),
        **_group("metrics", trial.metrics),
        **_group("constraints", trial.constraints),
        **_group("notes", trial.notes),
    }


def _run(match: FoundRun) -> dict[str, Any]:
    study, run = match
    return {
        "study": study,
        "trial": run.trial,
        "attempt": run.attempt,
        "purpose": run.purpose.value,
        "uid": run.uid,
        "state": run.state.value,
        "duration": run.duration,
        "started": run.started,
        "worker": run.worker,
        "host": run.host,
        "error": None if run.error is None else str(run.error),
        **_group("metrics", run.metrics),
    }


def _study(info: StudyInfo) -> dict[str, Any]:
    return {
        "study": info.name,
        "created": info.created,
        "direction": ", ".join(goal.direction for goal in info.goals),
        "metric": ", ".join(goal.metric for goal in info.goals),
        "optimizer": info.optimizer.get("name"),
        "seed": info.seed,
        "data": info.data or None,
        **_group("tags", info.tags),
    }


def _model(version: ModelVersion, spaces: _Spaces) -> dict[str, Any]:
    return {
        "model": version.name,
        "version": version.version,
        "aliases": " ".join(version.aliases),
        "value": version.value,
        "metric": version.goal.metric,
        "direction": version.goal.direction.value,
        "study": version.study,
        "trial": version.trial,
        "run": version.run,
        "format": None if version.artifact is None else version.artifact.format,
        "created": version.created,
        "data": version.data or None,
        **_estimate(version.estimate),
        **_group("params", spaces.flatten(version.study, version.params)),
    }


def _estimate(found: ValueEstimate | None) -> dict[str, Any]:
    names = ("value", "low", "high", "runs")
    return {f"estimate.{name}": None if found is None else getattr(found, name) for name in names}


def _group(group: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{group}.{name}": value for name, value in values.items()}
