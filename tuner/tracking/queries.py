"""The SELECT statements of a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Table,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    column,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)

from tuner.records import RunPurpose, State
from tuner.tracking.batch import TrialStatus
from tuner.tracking.json_text import dumps
from tuner.tracking.schema import (
    artifacts,
    codes,
    curves,
    environments,
    leases,
    model_versions,
    reports,
    runs,
    studies,
    trials,
)

AT_ONCE = 500
"""Values in one IN (...); SQLite allows 32,766, older versions 999."""

_T = TypeVar("_T")

Trials: TypeAlias = int | Sequence[int] | None
"""A trial's number, several (at most `AT_ONCE`), or None for all."""

FINISHED = tuple(state.value for state in State if state.finished)
"""The stored states of trials and runs that have ended."""


def in_parts(values: Sequence[_T], n: int = AT_ONCE) -> Iterator[Sequence[_T]]:
    """Yield `values` in their order, at most `n` at a time.

    Examples
    --------
    >>> list(in_parts("abcde", 2))
    ['ab', 'cd', 'e']
    """
    for start in range(0, len(values), n):
        yield values[start : start + n]


def among(
    connection: Connection, column: Column[Any], values: Sequence[Any]
) -> Iterator[ColumnElement[bool]]:
    """Yield conditions that a column has one of `values`, with a part of the values in each.

    PostgreSQL takes all values as one array, so the statement is the same for any number of them,
    and is neither built nor planned again.
    """
    if connection.dialect.name == "postgresql":
        if values:
            yield column == any_(literal(list(values), ARRAY(column.type)))
        return
    for part in in_parts(values):
        yield column.in_(part)


def all_studies(deleted: bool) -> Select[Any]:
    """Return every study, oldest first; with `deleted`, what remains of deleted ones too."""
    query = select(studies).order_by(studies.c.id)
    return query if deleted else query.where(studies.c.deleted.is_(None))


def trials_of(study: str, states: Sequence[State] | None, number: int | None = None) -> Select[Any]:
    """Return the trials of a study by number, with JSON as text for `rows.decoded`."""
    columns = [cast(c, Text) if isinstance(c.type, JSON) else c for c in trials.columns]
    query = (
        select(*columns)
        .select_from(trials.join(studies))
        .where(studies.c.uid == study)
        .order_by(trials.c.number)
    )
    if states is not None:
        query = query.where(trials.c.state.in_([s.value for s in states]))
    if number is not None:
        query = query.where(trials.c.number == number)
    return query


def changes_of(
    connection: Connection, study_id: int, after: int, known: Mapping[int, TrialStatus]
) -> tuple[Select[Any], dict[str, Any]]:
    """Return a query for the lease of a study and the trials that are new to a reader.

    These are the trials with a number above `after`, and the `known` ones that have changed. Each
    is found by its key, so the cost does not grow with the study. Each row has epoch and expiry of
    the lease, then the columns of a trial. Without a trial, one row has NULL in them.
    """
    dialect = connection.dialect.name
    return _changes(dialect), {"study": study_id, "after": after} | places(known)


def unexpected(
    connection: Connection, study_id: int, expected: Mapping[int, TrialStatus | None]
) -> tuple[Select[Any], dict[str, Any]]:
    """Return a query for those `expected` trials that are in another state, or exist if None."""
    dialect = connection.dialect.name
    return _unexpected(dialect), {"study": study_id} | places(expected)


# Cached, because building such a statement takes longer than running it.
@cache
def _changes(dialect: str) -> Select[Any]:
    study = bindparam("study", type_=BigInteger)
    # An aggregate gives a row even for a study that was never taken.
    lease = (
        select(func.max(leases.c.epoch).label("epoch"), func.max(leases.c.until).label("until"))
        .where(leases.c.study_id == study)
        .subquery()
    )
    columns = [cast(c, Text).label(c.name) if isinstance(c.type, JSON) else c for c in trials.c]
    known = known_trials(dialect)
    new = select(*columns).where(
        trials.c.study_id == study, trials.c.number > bindparam("after", type_=BigInteger)
    )
    changed = (
        select(*columns)
        .join(known, and_(trials.c.study_id == study, trials.c.number == known.c.number))
        .where(or_(trials.c.state != known.c.state, trials.c.attempts != known.c.attempts))
    )
    found = union_all(new, changed).subquery()
    return select(lease, found).select_from(lease.outerjoin(found, true()))


@cache
def _unexpected(dialect: str) -> Select[Any]:
    study = bindparam("study", type_=BigInteger)
    known = known_trials(dialect)
    is_it = and_(trials.c.study_id == study, trials.c.number == known.c.number)
    return (
        select(known.c.number)
        .select_from(known.outerjoin(trials, is_it))
        .where(
            or_(
                trials.c.state.is_distinct_from(known.c.state),
                trials.c.attempts.is_distinct_from(known.c.attempts),
            )
        )
    )


@cache
def known_trials(dialect: str) -> FromClause:
    """Return a table of the trials that a parameter lists: number, state and attempts."""
    listed = bindparam("known", type_=Text)
    columns = column("number", BigInteger), column("state", Text), column("attempts", BigInteger)
    if dialect == "postgresql":
        table = func.json_to_recordset(cast(listed, JSON)).table_valued(*columns)
        return table.render_derived(name="known", with_types=True)
    each = func.json_each(listed).table_valued("value")
    return select(
        *(
            func.json_extract(each.c.value, f"$.{c.name}", type_=c.type).label(c.name)
            for c in columns
        )
    ).subquery("known")


def places(known: Mapping[int, TrialStatus | None]) -> dict[str, Any]:
    """Return the parameter of `known_trials`."""
    listed = []
    for number, place in known.items():
        state, attempts = place or (None, None)
        listed.append({"number": number, "state": state and state.value, "attempts": attempts})
    return {"known": dumps(listed)}


def best_of(study_id: int, sign: float) -> Select[Any]:
    """Return the completed trials of a study, ordered by the first value, then by number."""
    value = trials.c.value if sign > 0 else trials.c.value.desc()
    return (
        select(trials)
        .where(
            trials.c.study_id == study_id,
            trials.c.state == State.COMPLETED.value,
            trials.c.value.is_not(None),
        )
        .order_by(value, trials.c.number)
    )


def runs_of(study: str, trial: Trials, purpose: RunPurpose | None = None) -> Select[Any]:
    """Return the runs of a study with their code and environment keys, by trial and attempt.

    `purpose` keeps the runs that were made for it.
    """
    query = (
        select(
            runs,
            environments.c.key.label("environment_key"),
            codes.c.key.label("code_key"),
        )
        .select_from(
            runs.join(studies, studies.c.id == runs.c.study_id)
            .outerjoin(environments)
            .outerjoin(codes)
        )
        .where(studies.c.uid == study)
        .order_by(runs.c.trial, runs.c.attempt, runs.c.id)
    )
    if purpose is not None:
        query = query.where(runs.c.purpose == purpose)
    return _narrowed(query, trial)


def _narrowed(query: Select[Any], trial: Trials) -> Select[Any]:
    if trial is None:
        return query
    is_one = runs.c.trial == trial if isinstance(trial, int) else runs.c.trial.in_(trial)
    return query.where(is_one)


def reports_of(study: str, trial: Trials) -> Select[Any]:
    """Return the rows of reports, one per metric, by trial, attempt and step."""
    query = _of_runs(study, trial, reports)
    return query.order_by(*_RUN, reports.c.step, reports.c.metric_id)


def curves_of(study: str, trial: Trials) -> Select[Any]:
    """Return the curves of runs, one per metric, by trial and attempt."""
    return _of_runs(study, trial, curves).order_by(*_RUN, curves.c.metric_id)


def loose_runs(study: str, uids: Sequence[str] | None) -> Select[Any]:
    """Return the ids of finished runs that have reports which are not packed."""
    query = (
        select(runs.c.id)
        .join(studies, studies.c.id == runs.c.study_id)
        .where(
            studies.c.uid == study,
            runs.c.state.in_(FINISHED),
            select(reports.c.run_id).where(reports.c.run_id == runs.c.id).exists(),
        )
        .order_by(runs.c.id)
    )
    return query if uids is None else query.where(runs.c.uid.in_(uids))


_RUN = (runs.c.trial, runs.c.attempt, runs.c.id)


def _of_runs(study: str, trial: Trials, table: Table) -> Select[Any]:
    query = (
        select(*_RUN, runs.c.uid, table)
        .select_from(
            runs.join(studies, studies.c.id == runs.c.study_id).join(
                table, table.c.run_id == runs.c.id
            )
        )
        .where(studies.c.uid == study)
    )
    return _narrowed(query, trial)


def artifacts_of(study: str, run: str | None, trial: Trials = None) -> Select[Any]:
    """Return the artifacts of a study, only the latest for each run and name."""
    query = (
        select(artifacts, runs.c.uid.label("run"))
        .select_from(artifacts.join(runs).join(studies, studies.c.id == runs.c.study_id))
        .where(studies.c.uid == study, ~is_superseded())
        .order_by(runs.c.trial, runs.c.attempt, runs.c.id, artifacts.c.id)
    )
    return _narrowed(query if run is None else query.where(runs.c.uid == run), trial)


def is_superseded() -> ColumnElement[bool]:
    """Return the condition that the run of an artifact kept another one under its name later."""
    later = artifacts.alias("later")
    return (
        select(later.c.id)
        .where(
            later.c.run_id == artifacts.c.run_id,
            later.c.name == artifacts.c.name,
            later.c.id > artifacts.c.id,
        )
        .exists()
    )


PROFILE = "profile"
"""Kind of the artifact with the profile of the data of a model version."""


def is_registered() -> ColumnElement[bool]:
    """Return the condition that a model version needs an artifact: as its model or its profile."""
    versions, run = model_versions, runs.alias("registered_run")
    model = select(versions.c.id).where(versions.c.artifact_id == artifacts.c.id).exists()
    profiled = select(versions.c.id).join(run, run.c.uid == versions.c.run)
    profiled = profiled.where(run.c.id == artifacts.c.run_id)
    return or_(model, and_(artifacts.c.kind == PROFILE, ~is_superseded(), profiled.exists()))


def artifact_paths(run: str, name: str) -> Select[Any]:
    """Return the paths of all artifacts that a run kept under a name, oldest first."""
    return (
        select(artifacts.c.path)
        .join(runs)
        .where(runs.c.uid == run, artifacts.c.name == name)
        .order_by(artifacts.c.id)
    )
