"""Write the artifacts of a trial to files."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import ArgumentError, ExportError
from tuner.records import Artifact, Run, Upload
from tuner.tracking.artifacts.folder import check_paths, safe_name
from tuner.tracking.uuid7 import uuid7

if TYPE_CHECKING:
    from tuner.study.results import StudyResults


def download(
    study: StudyResults, trial: int, names: Sequence[str], folder: Path, attempt: int | None
) -> list[Path]:
    """Write artifacts of a trial below a folder; see `StudyResults.download_artifacts`."""
    run = _run(study, trial, attempt)
    found = {artifact.name: artifact for artifact in study.artifacts(run.uid)}
    for name in names:
        if name not in found:
            raise ArgumentError(_missing(study, run, name, list(found)))
    chosen = [found[name] for name in names] if names else list(found.values())
    return [path for artifact in chosen for path in _write(study, artifact, folder)]


def _run(study: StudyResults, trial: int, attempt: int | None) -> Run:
    runs = study.runs(trial)
    for run in reversed(runs):
        if run.attempt == attempt or (attempt is None and run.is_attempt):
            return run
    if attempt is not None and runs:
        raise ArgumentError(
            f"study {study.name!r}: trial {trial} has {len(runs)} runs, which are numbered from 1, "
            f"and no run {attempt}"
        )
    raise ArgumentError(f"study {study.name!r} has no trial {trial} that has run")


def _missing(study: StudyResults, run: Run, name: str, known: list[str]) -> str:
    """Return the message for an artifact that a run does not have."""
    close = difflib.get_close_matches(name, known) or known[:5]
    has = f"it has {', '.join(map(repr, close))}" if close else "it has none"
    uids = {a.run for a in study.artifacts(run.trial) if a.name == name}
    others = [str(other.attempt) for other in study.runs(run.trial) if other.uid in uids]
    elsewhere = f"; run {', '.join(others)} of the trial has it" if others else ""
    return (
        f"study {study.name!r}: run {run.attempt} of trial {run.trial} has no artifact {name!r}; "
        f"{has}{elsewhere}"
    )


def _write(study: StudyResults, artifact: Artifact, folder: Path) -> Iterator[Path]:
    files = study.store.read_artifact(artifact)
    check_paths(Upload(artifact.name, files))
    target = folder.joinpath(*_parts(artifact.name))
    # A file that was logged under its own name is not put into a folder of that name.
    is_file = list(files) == [target.name]
    for name, content in files.items():
        path = target if is_file else target.joinpath(*name.split("/"))
        try:
            if path.is_file() and path.read_bytes() != content:
                raise ExportError(
                    f"artifact {artifact.name!r}: {path} exists with another content; remove it, "
                    f"or give another folder"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{path.name}.{uuid7()}")
            part.write_bytes(content)
            part.replace(path)
        except OSError as error:
            raise ExportError(
                f"artifact {artifact.name!r}: {path} cannot be written: {error.strerror}"
            ) from error
        yield path


def _parts(name: str) -> list[str]:
    """Return the path of an artifact's name, or one safe part if it would lead elsewhere."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts):
        return [safe_name(name)]
    return parts
