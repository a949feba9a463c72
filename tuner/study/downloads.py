"""Write the artifacts of a trial to files."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import ArgumentError, ExportError
from tuner.records import Artifact, Run, Upload
from tuner.records.attempts import last_attempt
from tuner.tracking.artifacts.folder import check_paths, safe_name
from tuner.tracking.uuid7 import uuid7

if TYPE_CHECKING:
    from tuner.tracking.store import Store


@dataclass(frozen=True, slots=True)
class Downloads:
    """The runs and artifacts of one trial of the study called `study`."""

    study: str
    trial: int
    runs: Sequence[Run]
    artifacts: Sequence[Artifact]

    def chosen(self, names: Sequence[str], attempt: int | None) -> list[Artifact]:
        """Return artifacts of a run; see `StudyResults.download_artifacts`."""
        run = self._run(attempt)
        found = {artifact.name: artifact for artifact in self.artifacts if artifact.run == run.uid}
        for name in names:
            if name not in found:
                raise ArgumentError(self._missing(run, name, list(found)))
        return [found[name] for name in names] if names else list(found.values())

    def _run(self, attempt: int | None) -> Run:
        if attempt is None:
            found = last_attempt(self.runs)
        else:
            found = next((run for run in self.runs if run.attempt == attempt), None)
        if found is not None:
            return found
        if attempt is not None and self.runs:
            raise ArgumentError(
                f"study {self.study!r}: trial {self.trial} has {len(self.runs)} runs, which are "
                f"numbered from 1, and no run {attempt}"
            )
        raise ArgumentError(f"study {self.study!r} has no trial {self.trial} that has run")

    def _missing(self, run: Run, name: str, known: list[str]) -> str:
        """Return the message for an artifact that a run does not have."""
        close = difflib.get_close_matches(name, known) or known[:5]
        has = f"it has {', '.join(map(repr, close))}" if close else "it has none"
        uids = {artifact.run for artifact in self.artifacts if artifact.name == name}
        others = [str(other.attempt) for other in self.runs if other.uid in uids]
        elsewhere = f"; run {', '.join(others)} of the trial has it" if others else ""
        return (
            f"study {self.study!r}: run {run.attempt} of trial {self.trial} has no artifact "
            f"{name!r}; {has}{elsewhere}"
        )


def write_artifact(store: Store, artifact: Artifact, folder: Path) -> Iterator[Path]:
    """Write the files of an artifact below a folder, and yield their paths."""
    files = store.read_artifact(artifact)
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
