"""Delete, rename and archive studies, and delete artifacts of a trial.

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
from collections.abc import Collection
from typing import TYPE_CHECKING

from sqlalchemy import Connection, RowMapping, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from tuner.errors import ArgumentError, StudyExists, StudyNotFound
from tuner.records import Artifact, State
from tuner.tracking import rows, schema
from tuner.tracking.queries import in_parts

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
    registered = select(_VERSIONS.c.artifact_id).where(_VERSIONS.c.artifact_id.is_not(None))
    artifacts = _ARTIFACTS.c.run_id.in_(own)
    connection.execute(delete(_ARTIFACTS).where(artifacts, _ARTIFACTS.c.id.not_in(registered)))
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
            select(_ARTIFACTS, _RUNS.c.uid.label("run"), _VERSIONS.c.id.label("needed"))
            .join(_RUNS, _RUNS.c.id == _ARTIFACTS.c.run_id)
            .outerjoin(_VERSIONS, _VERSIONS.c.artifact_id == _ARTIFACTS.c.id)
            .where(_RUNS.c.study_id == study_id, _RUNS.c.trial == number)
            .order_by(_ARTIFACTS.c.id)
        ).all()
        known = {row.name for row in found}
        if missing := [name for name in names if name not in known]:
            has = f"it has {', '.join(map(repr, sorted(known)))}" if known else "it has none"
            raise ArgumentError(f"artifacts: trial {number} has no {missing[0]!r}; {has}")
        gone = [r for r in found if r.needed is None and (not names or r.name in names)]
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
