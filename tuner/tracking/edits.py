"""Edits of recorded studies: delete, rename, archive, annotate, and reopen failed trials.

A deletion is one transaction, in which no driver can hold the study. It deletes every row of the
study except those that a registered model version needs: its run with the curves, the trial and the
artifact. The next garbage collection frees the files (see `artifacts.retention`).

The row of the study stays, under another name and hidden from lists. SQLite therefore never gives
its id to a new study, into which a process with the former study in memory would write. The epoch
of its lease has grown, so that a driver that lost its lease before the deletion is refused. If no
version needs the study, or when the last such version is removed, everything that describes it is
blanked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from tuner.errors import ArgumentError, StudyExists, StudyNotFound
from tuner.errors.credentials import hide_exact
from tuner.records import Artifact, State, StudyInfo, Trial, decode_params
from tuner.tracking import rows, schema
from tuner.tracking.annotation_values import check_note_names, check_tags, stored
from tuner.tracking.queries import in_parts, is_registered

if TYPE_CHECKING:
    from tuner.tracking.store import Store

_STUDIES, _TRIALS, _RUNS, _ARTIFACTS = schema.studies, schema.trials, schema.runs, schema.artifacts
_VERSIONS = schema.model_versions

DELETED = "@deleted-"
"""Part of the name of a deleted study; the names of studies have no ``@``."""


def delete_study(store: Store, study: str) -> list[str]:
    """Delete the study with that uid, and return the model versions that still need a trial of it.

    Raises
    ------
    StudyBusy
        If a driver holds the study.
    StudyNotFound
        If it does not exist, or was deleted.
    """
    models = schema.models
    with store.exclusively(study) as (connection, study_id):
        connection.execute(
            update(_STUDIES)
            .where(_STUDIES.c.id == study_id)
            .values(deleted=time.time(), name=_STUDIES.c.name + f"{DELETED}{study}")
        )
        _discard(connection, study_id, study)
        versions = connection.execute(
            select(models.c.name, _VERSIONS.c.version)
            .join(models, models.c.id == _VERSIONS.c.model_id)
            .where(_VERSIONS.c.study == study)
            .order_by(models.c.name, _VERSIONS.c.version)
        )
        return [f"{row.name}@{row.version}" for row in versions]


def discard_unneeded(connection: Connection, study: str) -> None:
    """Delete what remains of a deleted study and no version needs any more; else do nothing."""
    query = select(_STUDIES.c.id).where(_STUDIES.c.uid == study, _STUDIES.c.deleted.is_not(None))
    study_id = connection.execute(query.with_for_update()).scalar()
    if study_id is not None:
        _discard(connection, study_id, study)


def _discard(connection: Connection, study_id: int, study: str) -> None:
    """Delete the rows of a study that no version needs; blank the study if none remains."""
    own = select(_RUNS.c.id).where(_RUNS.c.study_id == study_id)
    artifacts = _ARTIFACTS.c.run_id.in_(own)
    connection.execute(delete(_ARTIFACTS).where(artifacts, ~is_registered()))
    gone = own.where(
        _RUNS.c.uid.not_in(select(_VERSIONS.c.run)),
        _RUNS.c.id.not_in(select(_ARTIFACTS.c.run_id).where(artifacts)),
    )
    for table in (schema.reports, schema.curves):
        connection.execute(delete(table).where(table.c.run_id.in_(gone)))
    connection.execute(delete(_RUNS).where(_RUNS.c.id.in_(gone)))
    left = select(_RUNS.c.trial).where(_RUNS.c.study_id == study_id)
    trials = _TRIALS.c.study_id == study_id
    connection.execute(delete(_TRIALS).where(trials, _TRIALS.c.number.not_in(left)))
    if connection.execute(select(func.count()).select_from(_TRIALS).where(trials)).scalar() == 0:
        blank = dict.fromkeys(("optimizer", "tags", "constraints", "earlier", "user", "notes"))
        texts = {"name": f"{DELETED}{study}", "space": {}, "fingerprint": "", "data": ""}
        connection.execute(update(_STUDIES).where(_STUDIES.c.id == study_id).values(blank | texts))


def rename_study(store: Store, study: str, name: str) -> None:
    """Give the study with that uid another name.

    Raises
    ------
    StudyBusy
        If a driver holds the study.
    StudyExists
        If another study has that name.
    StudyNotFound
        If the study does not exist, or was deleted.
    """
    with store.exclusively(study) as (connection, study_id):
        other = select(_STUDIES.c.id).where(_STUDIES.c.name == name, _STUDIES.c.id != study_id)
        taken = StudyExists(f"study {name!r} exists in {store}; write another name, or rename it")
        if connection.execute(other).first() is not None:
            raise taken
        try:
            connection.execute(update(_STUDIES).where(_STUDIES.c.id == study_id).values(name=name))
        except IntegrityError as error:  # it was created meanwhile
            raise taken from error


def archive_study(store: Store, study: str, *, archived: bool) -> float | None:
    """Hide the study with that uid from lists, or show it again; return the time it was archived.

    Raises
    ------
    StudyNotFound
        If the study does not exist, or was deleted.
    """
    with store.writing() as connection:
        row = lock_study(connection, study)
        since: float | None = (row["archived"] or time.time()) if archived else None
        connection.execute(
            update(_STUDIES).where(_STUDIES.c.id == row["id"]).values(archived=since)
        )
    return since


def delete_artifacts(
    store: Store, study: str, number: int, names: Collection[str] = ()
) -> list[Artifact]:
    """Delete the records of artifacts of a finished trial, and return them.

    Parameters
    ----------
    store
        The store.
    study
        The uid of the study.
    number
        The number of the trial.
    names
        The names of the artifacts; none stands for all. Those that a model version needs stay.

    Raises
    ------
    ArgumentError
        If the trial does not exist or is unfinished, or has no artifact of such a name.
    """
    with store.writing() as connection:
        study_id = lock_study(connection, study)["id"]
        trial = _TRIALS.c.study_id == study_id, _TRIALS.c.number == number
        state = connection.execute(select(_TRIALS.c.state).where(*trial)).scalar()
        if state is None:
            raise ArgumentError(f"artifacts: this study has no trial {number!r}")
        if not State(state).finished:
            raise ArgumentError(
                f"artifacts: trial {number} is {state}; delete them once it has an outcome"
            )
        found = connection.execute(
            select(_ARTIFACTS, _RUNS.c.uid.label("run"), is_registered().label("needed"))
            .join(_RUNS, _RUNS.c.id == _ARTIFACTS.c.run_id)
            .where(_RUNS.c.study_id == study_id, _RUNS.c.trial == number)
            .order_by(_ARTIFACTS.c.id)
        ).all()
        known = {row.name for row in found}
        if missing := [name for name in names if name not in known]:
            has = f"it has {', '.join(map(repr, sorted(known)))}" if known else "it has none"
            raise ArgumentError(f"artifacts: trial {number} has no {missing[0]!r}; {has}")
        gone = [r for r in found if not r.needed and (not names or r.name in names)]
        for part in in_parts([row.id for row in gone]):
            connection.execute(delete(_ARTIFACTS).where(_ARTIFACTS.c.id.in_(part)))
    return [rows.artifact_of(row) for row in gone]


def lock_study(connection: Connection, study: str) -> RowMapping:
    """Return the row of a study, which nobody deletes, changes or registers from until the end.

    Raises
    ------
    StudyNotFound
        If the study does not exist, or was deleted.
    """
    query = select(_STUDIES).where(_STUDIES.c.uid == study, _STUDIES.c.deleted.is_(None))
    row = connection.execute(query.with_for_update()).mappings().first()
    if row is None:
        raise StudyNotFound(f"the store has no study with uid {study!r}; it may have been deleted")
    return row


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


_OUTCOME = ("value", "values", "metrics", "error", "constraints", "started", "ended")
"""Columns that a trial without an outcome does not have."""


def reopen(store: Store, study: str, numbers: Sequence[int] | None) -> list[int]:
    """Let failed trials wait again, all of them if `numbers` is None, and return their numbers.

    Their runs stay, with the errors.

    Raises
    ------
    ArgumentError
        If one of `numbers` is not the number of a failed trial.
    StudyBusy
        If a driver holds the study.
    """
    with store.exclusively(study) as (connection, study_id):
        return _reopen(connection, study_id, numbers)


def _reopen(connection: Connection, study_id: int, numbers: Sequence[int] | None) -> list[int]:
    table = _TRIALS
    query = select(table.c.number, table.c.state).where(table.c.study_id == study_id)
    rows = connection.execute(query.order_by(table.c.number))
    states: dict[int, str] = {row.number: row.state for row in rows}
    failed = [number for number, state in states.items() if state == State.FAILED]
    for number in () if numbers is None else numbers:
        if number not in states:
            raise ArgumentError(f"retry: this study has no trial {number!r}")
        if states[number] != State.FAILED:
            raise ArgumentError(
                f"retry: trial {number} is {states[number]}; only failed trials can run again"
            )
    chosen = failed if numbers is None else sorted(set(numbers))
    if chosen:
        statement = (
            update(table)
            .where(table.c.study_id == study_id, table.c.number == bindparam("trial"))
            .values(state=State.WAITING.value, **dict.fromkeys(_OUTCOME))
        )
        connection.execute(statement, [{"trial": number} for number in chosen])
    return chosen
