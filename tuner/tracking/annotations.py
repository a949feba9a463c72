"""Additions to what is recorded: tags, notes and earlier trials of studies, notes on trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from tuner.errors import ArgumentError, StoreError
from tuner.errors.credentials import hide_exact
from tuner.records import State, StudyInfo, Trial, decode_params, encode_params
from tuner.records.bounds import MAX_ANNOTATIONS, as_name
from tuner.tracking import rows, schema
from tuner.tracking.json_text import dumps
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
        stored = _stored(tags, "tags") or None
        connection.execute(update(_STUDIES).where(_STUDIES.c.id == row["id"]).values(tags=stored))
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


def check_tags(tags: Mapping[str, str | None]) -> None:
    """Raise `ArgumentError` if a name or a value is not a string, or the tags are too long."""
    for name, value in tags.items():
        if not isinstance(name, str) or not name or not isinstance(value, str | None):
            raise ArgumentError(f"tag {name!r}: {value!r}: write a name and a text, or None")
        as_name(name, "tag")
    _stored(tags, "tags")


def set_study_notes(store: Store, study: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Set notes on a study, remove those that are None, and return all its notes.

    Raises
    ------
    ArgumentError
        If a name is too long, all notes together are, or a note is not a JSON value.
    StudyNotFound
        If no study has that uid.
    """
    _check_note_names(changes)
    with store.writing() as connection:
        row = lock_study(connection, study)
        notes = _changed(row["notes"], changes)
        stored = _stored(notes, "notes") or None
        connection.execute(update(_STUDIES).where(_STUDIES.c.id == row["id"]).values(notes=stored))
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
    _check_note_names(changes)
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
        stored = _stored(notes, "notes") or None
        connection.execute(update(_TRIALS).where(*which).values(notes=stored))
    return notes


def _check_note_names(changes: Mapping[str, Any]) -> None:
    for name in changes:
        if not isinstance(name, str) or not name:
            raise ArgumentError(f"note {name!r}: write a name, a text that is not empty")
        as_name(name, "note")


def _stored(values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Encode tags or notes for the store.

    Raises
    ------
    ArgumentError
        If a value cannot be stored, or all of them together are too large.
    """
    try:
        encoded = encode_params(dict(values))
        size = len(dumps(encoded))
    except (StoreError, ValueError, TypeError, RecursionError) as error:
        raise ArgumentError(
            f"{what}: {str(error)[:200]}; give small JSON values: texts, numbers, lists, dicts"
        ) from error
    if size > MAX_ANNOTATIONS:
        raise ArgumentError(
            f"{what}: together they have {size:,} characters, and at most {MAX_ANNOTATIONS:,} are "
            f"allowed; keep a file with trial.log_artifact instead"
        )
    return encoded


def _changed(stored: Mapping[str, Any] | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    together = {**decode_params(stored or {}), **changes}
    return {name: value for name, value in together.items() if value is not None}
