"""The lineage of a model version: its run, trial, study, code, environment and data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors.boundary import public
from tuner.records import Code, Environment, ModelVersion, Run, StudyInfo, Trial
from tuner.records.numbers import literal_text, number_text
from tuner.registry.registry import Registry
from tuner.tracking import open_store
from tuner.tracking.references import find_study, find_trial

if TYPE_CHECKING:
    from tuner.tracking.store import Store


@dataclass(frozen=True, slots=True, repr=False)
class Lineage:
    """The records behind a model version; a missing record is None."""

    version: ModelVersion
    study: StudyInfo
    trial: Trial
    run: Run
    code: Code | None = None
    environment: Environment | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-compatible dict."""
        return {
            "model": self.version.to_json(),
            "run": self.run.to_json(),
            "trial": self.trial.to_json(),
            "study": self.study.to_json(),
            "code": None if self.code is None else self.code.to_json(),
            "environment": None if self.environment is None else self.environment.to_json(),
            "data": self.study.data or None,
        }

    def lines(self) -> Iterator[str]:
        """Yield the lines of the lineage, formatted as a tree."""
        return _lines(self._tree())

    def __repr__(self) -> str:
        return f"<Lineage of {self.version.name}@{self.version.version}>"

    def _repr_html_(self) -> str:
        from tuner.records.html import block, preformatted

        title = f"Lineage of {self.version.name}@{self.version.version}"
        return block(title, preformatted("\n".join(self.lines())))

    def _tree(self) -> _Node:
        version, run, trial, study = self.version, self.run, self.trial, self.study
        aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
        files = []
        if version.artifact is not None:
            kept = version.artifact
            files.append(_Node(f"files: {kept.format}, {kept.size} bytes, sha256 {kept.sha256}"))
        estimate = [] if version.estimate is None else version.estimate.lines()
        return _Node(
            f"model {version.name}@{version.version}{aliases}: "
            f"{version.goal.metric} = {number_text(version.value)}, "
            f"registered {_when(version.created)}",
            *map(_Node, estimate),
            *files,
            _Node(
                f"run {run.uid}: {run.state} on {run.host or 'an unknown host'}, "
                f"{_when(run.started)} to {_when(run.ended)}",
                self._code(),
                self._environment(),
                _Node(
                    f"trial {study.name}/{trial.number}: {trial.state}, seed {trial.seed}, "
                    f"attempt {run.attempt} of {trial.attempts}",
                    *(
                        _Node(f"{path} = {literal_text(value, None)}")
                        for path, value in trial.params.items()
                    ),
                    _Node(
                        f"study {study.name}: "
                        f"{', '.join(map(str, study.goals))}, "
                        f"optimizer {study.optimizer.get('name', 'unknown')}, seed {study.seed}, "
                        f"created {_when(study.created)}",
                        *(_Node(f"tag {key} = {value}") for key, value in study.tags.items()),
                        _Node(f"data: {study.data or 'no fingerprint recorded'}"),
                    ),
                ),
            ),
        )

    def _code(self) -> _Node:
        code = self.code
        if code is None:
            return _Node("code: not recorded")
        changes = "with uncommitted changes" if code.diff else "no uncommitted changes"
        commit = f"commit {code.commit}, {changes}" if code.commit else "not in git"
        return _Node(
            f"code: {commit}",
            _Node(f"objective {code.objective or 'unknown'}, source sha256 {code.source_sha256}"),
        )

    def _environment(self) -> _Node:
        environment = self.environment
        if environment is None:
            return _Node("environment: not recorded")
        return _Node(
            f"environment: Python {environment.python}, {environment.platform}, "
            f"{len(environment.packages)} packages"
        )


@public()
def lineage(ref: str, *, store: Store | str | Path | None = None) -> Lineage:
    """Return the lineage of a model version: run, trial, study, code, environment and data.

    Parameters
    ----------
    ref, store
        As for `load_model`.

    Raises
    ------
    ModelNotFound
        If the model version does not exist.
    """
    opened = open_store(store)
    version = Registry(opened).get(ref)
    study = find_study(version.study, opened)
    trial = find_trial(study, version.trial, opened)
    assert trial is not None, "each version has a run, and each run has a trial"
    run = next(r for r in opened.runs(study.uid, version.trial) if r.uid == version.run)
    return Lineage(
        version,
        study,
        trial,
        run,
        opened.get_code(version.code) if version.code else None,
        opened.get_environment(version.environment) if version.environment else None,
    )


class _Node:
    def __init__(self, text: str, *children: _Node) -> None:
        self.text, self.children = text, children


def _lines(node: _Node, first: str = "", rest: str = "") -> Iterator[str]:
    yield f"{first}{node.text}"
    *others, last = node.children or (None,)
    for child in others:
        if child is not None:
            yield from _lines(child, f"{rest}├── ", f"{rest}│   ")
    if last is not None:
        yield from _lines(last, f"{rest}└── ", f"{rest}    ")


def _when(seconds: float | None) -> str:
    if seconds is None:
        return "an unknown time"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
