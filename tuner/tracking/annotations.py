"""Additions to records: tags, notes and earlier trials of studies, notes on trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from tuner.errors import ArgumentError
from tuner.errors.credentials import hide_exact
from tuner.records import State, StudyInfo, Trial, decode_params
from tuner.tracking import rows, schema
from tuner.tracking.annotation_values import check_note_names, check_tags, stored
from tuner.tracking.tidying import lock_study

if TYPE_CHECKING:
    from tuner.tracking.store import Store

_STUDIES, _TRIALS = schema.studies, schema.trials


def set_tags(store: Store, study: str, changes: Mapping[str, str | None]) -> dict[str, str]:
    """Set tags of the study with that uid, remove those that are None, and return all its tags.

    Tags that another process sets at the same time are kept.

    Raises
    ------
    ArgumentError
        If a name or a value is not a string, a name is too long, or all tags together are.
    StudyNotFound
        If no study has that uid.
    """
    check_tags(changes)
    with store.writing() as connection:
        row = lock_study(connection, study)
        tags = _changed(row["tags"], {k: v and hide_exact(v) for k, v in changes.items()})
        encoded = stored(tags, "tags") or None
        connection.execute(update(_STUDIES).where(_STUDIES.c.id == row["id"]).values(tags=encoded))
    return tags


def add_warm_start_trials(
    store: Store, info: StudyInfo, add: Callable[[tuple[Trial, ...]], tuple[Trial, ...]]
) -> StudyInfo:
    """Replace the earlier trials of a study by what `add` returns for them, and return its record.

    Earlier trials that another process adds at the same time are kept.

    Raises
    ------
    StudyNotFound
        If the study does not exist.
    """
    with store.writing() as connection:
        row = lock_study(connection, info.uid)
        trials = add(rows.warm_start_trials(row["earlier"], row["space"]))
        info = replace(info, warm_start_trials=trials)
        earlier = rows.study_row(info)["earlier"]
        connection.execute(
            update(_STUDIES).where(_STUDIES.c.id == row["id"]).values(earlier=earlier)
        )
    return info


def set_study_notes(store: Store, study: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Set notes on a study, remove those that are None, and return all its notes.

    Raises
    ------
    ArgumentError
        If a name is too long, all notes together are, or a note is not a JSON value.
    StudyNotFound
        If no study has that uid.
    """
    check_note_names(changes)
    with store.writing() as connection:
        row = lock_study(connection, study)
        notes = _changed(row["notes"], changes)
        encoded = stored(notes, "notes") or None
        connection.execute(update(_STUDIES).where(_STUDIES.c.id == row["id"]).values(notes=encoded))
    return notes


def set_notes(store: Store, study: str, number: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Set notes on a finished trial, remove those that are None, and return all its notes.

    Nothing else of the trial changes.

    Raises
    ------
    ArgumentError
        If the trial does not exist; if it is unfinished, since its driver would undo the note;
        if a name is too long, all notes together are, or a note is not a JSON value.
    StudyNotFound
        If no study has that uid.
    """
    check_note_names(changes)
    with store.writing() as connection:
        study_id = lock_study(connection, study)["id"]
        which = [_TRIALS.c.study_id == study_id, _TRIALS.c.number == number]
        found = connection.execute(select(_TRIALS).where(*which).with_for_update())
        row = found.mappings().first()
        if row is None:
            raise ArgumentError(f"note: this study has no trial {number!r}")
        if not State(row["state"]).finished:
            raise ArgumentError(
                f"note: trial {number} is {row['state']}; it can have notes once it has an outcome"
            )
        notes = _changed(row["notes"], changes)
        encoded = stored(notes, "notes") or None
        connection.execute(update(_TRIALS).where(*which).values(notes=encoded))
    return notes


def _changed(before: Mapping[str, Any] | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    together = {**decode_params(before or {}), **changes}
    return {name: value for name, value in together.items() if value is not None}
