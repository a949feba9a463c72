"""A recorded study with its tags and notes, and the calls that tidy it up."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuner.errors.boundary import public_methods
from tuner.errors.loading import end_loading
from tuner.records import Artifact, StudyInfo, Trial
from tuner.study.arguments import as_study_name, as_trial_number

if TYPE_CHECKING:
    from tuner.tracking.store import Store


@public_methods
class AnnotatedStudy:
    """The record of a study in a store, which people annotate, archive and delete."""

    def __init__(self, info: StudyInfo, store: Store) -> None:
        self._info = info
        self.store = store

    @property
    def info(self) -> StudyInfo:
        """The study's record."""
        return self._info

    @property
    def name(self) -> str:
        """The name of the study in its store."""
        return self._info.name

    # --- tags and notes -----------------------------------------------------------------------

    def set_tag(self, name: str, value: str | None) -> None:
        """Set a tag of the study, a short string; None removes it."""
        self.set_tags({name: value})

    def set_tags(self, tags: Mapping[str, str | None]) -> None:
        """Set several tags at once; None removes a tag. Other tags do not change."""
        from tuner.tracking.edits import set_tags

        end_loading("Study.set_tags")
        known = set_tags(self.store, self._info.uid, tags)
        self._info = dataclasses.replace(self._info, tags=known)

    def set_note(self, trial: Trial | int, name: str, value: Any) -> None:
        """Set a note on a finished trial, a small JSON value; None removes it."""
        self.set_notes(trial, {name: value})

    def set_notes(self, trial: Trial | int, notes: Mapping[str, Any]) -> dict[str, Any]:
        """Set several notes on a finished trial, and return all its notes.

        Raises
        ------
        ArgumentError
            If the trial does not exist or is not finished.
        """
        from tuner.tracking.edits import set_notes

        end_loading("Study.set_notes")
        number = as_trial_number(trial)
        return set_notes(self.store, self._info.uid, number, notes)

    @property
    def notes(self) -> dict[str, Any]:
        """The notes on the study, as of when it was loaded or they were set by this object."""
        return dict(self._info.notes)

    def set_study_note(self, name: str, value: Any) -> None:
        """Set a note on the study itself, a small JSON value; None removes it."""
        self.set_study_notes({name: value})

    def set_study_notes(self, notes: Mapping[str, Any]) -> dict[str, Any]:
        """Set several notes on the study itself, and return all its notes."""
        from tuner.tracking.edits import set_study_notes

        known = set_study_notes(self.store, self._info.uid, notes)
        self._info = dataclasses.replace(self._info, notes=known)
        return known

    # --- tidying ------------------------------------------------------------------------------

    def delete(self) -> list[str]:
        """Delete the study; see `tuner.delete_study`. This object is of no use afterwards."""
        from tuner.tracking.edits import delete_study

        return delete_study(self.store, self._info.uid)

    def rename(self, name: str) -> None:
        """Give the study another name; see `tuner.rename_study`."""
        from tuner.tracking.edits import rename_study

        rename_study(self.store, self._info.uid, as_study_name(name))
        self._info = dataclasses.replace(self._info, name=name)

    def archive(self) -> None:
        """Hide the study from lists; see `tuner.archive_study`."""
        self._archive(archived=True)

    def unarchive(self) -> None:
        """Show the study in lists again."""
        self._archive(archived=False)

    def _archive(self, *, archived: bool) -> None:
        from tuner.tracking.edits import archive_study

        since = archive_study(self.store, self._info.uid, archived=archived)
        self._info = dataclasses.replace(self._info, archived=since)

    def delete_artifacts(self, trial: Trial | int, *names: str) -> list[Artifact]:
        """Delete artifacts of a finished trial, and return the deleted ones.

        Artifacts that a model version needs stay. The next garbage collection (``tuner gc``) frees
        the files.

        Parameters
        ----------
        trial
            The trial, or its number.
        names
            Names of artifacts; without any, all artifacts of the trial are deleted.

        Raises
        ------
        ArgumentError
            If the trial does not exist or is unfinished, or has no artifact of such a name.
        """
        from tuner.tracking.edits import delete_artifacts

        number = as_trial_number(trial)
        return delete_artifacts(self.store, self._info.uid, number, names)
