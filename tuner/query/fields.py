"""The fields of trials, runs, studies and models, and the columns that store them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Double,
    FromClause,
    Select,
    Table,
    Text,
    and_,
    case,
    cast,
    func,
    or_,
    select,
)

from tuner.errors import ArgumentError
from tuner.query.syntax import Query
from tuner.query.values import (
    Dialect,
    Expression,
    Kind,
    Value,
    boolean,
    number,
    several,
    string,
    string_or_empty,
)
from tuner.records import RunPurpose, State
from tuner.tracking.schema import (
    aliases,
    artifacts,
    codes,
    environments,
    model_versions,
    models,
    runs,
    studies,
    trials,
)

What: TypeAlias = Literal["trials", "runs", "studies", "models"]

SUBJECTS: tuple[What, ...] = ("trials", "runs", "studies", "models")
"""The values of the argument `what`."""

_STATES = tuple(str(state) for state in State)
_PURPOSES = tuple(purpose.value for purpose in RunPurpose)


@dataclass(frozen=True, slots=True)
class Subject:
    """A searchable kind of record: its rows, its fields, and the tie-breaking order (`identity`).

    `documents` are flat JSON columns with one key per value; `trees` are nested JSON columns.
    `states` are the states on which results depend, by the name of the field or document. The
    results of a run that has not completed are partial.
    """

    rows: Select[Any]
    identity: tuple[Expression, ...]
    fields: Mapping[str, Callable[[], Value]]
    documents: Mapping[str, Expression]
    trees: Mapping[str, Expression] = field(default_factory=dict)
    states: Mapping[str, Expression] = field(default_factory=dict)

    def close_to(self, name: str) -> str:
        """Return a hint for an unknown field."""
        groups = [*self.documents, *self.trees]
        known = [*self.fields, *(f"{group}.…" for group in groups)]
        if close := difflib.get_close_matches(name, [*self.fields, *groups], n=2):
            return f"did you mean {' or '.join(g + '.…' * (g in groups) for g in close)}?"
        within = [f"{g}.{name}" for g in ("params", "metrics") if g in groups]
        hint = f"write {' or '.join(within)}, or one of " if within else "write one of "
        return f"{hint}{', '.join(sorted(known))}"


def visible(query: Query) -> list[ColumnElement[bool]]:
    """Return the conditions on studies of a search of the whole store.

    Deleted studies are never found, archived ones only if the query names them or the field
    ``archived``.
    """
    conditions: list[ColumnElement[bool]] = [studies.c.deleted.is_(None)]
    if not any(field.path == ("archived",) for field in query.fields):
        named = [
            title.value
            for field, title in query.equalities
            if field.path in (("study",), ("name",)) and isinstance(title.value, str)
        ]
        conditions.append(or_(studies.c.archived.is_(None), studies.c.name.in_(named)))
    return conditions


def subject(what: str, dialect: Dialect) -> Subject:
    """Return the subject named `what`.

    Raises
    ------
    ArgumentError
        If `what` is not one of `SUBJECTS`.
    """
    makers = {"trials": _trials, "runs": _runs, "studies": _studies, "models": _models}
    if what not in makers:
        close = difflib.get_close_matches(str(what), SUBJECTS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ArgumentError(f"what={what!r} must be one of {', '.join(SUBJECTS)}{hint}")
    return makers[what](dialect)


def _trials(dialect: Dialect) -> Subject:
    def last(column: Expression) -> Expression:
        """Return a column of the trial's last run."""
        return (
            select(column)
            .where(
                runs.c.study_id == trials.c.study_id,
                runs.c.trial == trials.c.number,
                runs.c.purpose == RunPurpose.ATTEMPT,
            )
            .order_by(runs.c.attempt.desc(), runs.c.id.desc())
            .limit(1)
            .scalar_subquery()
        )

    return Subject(
        select(trials, studies.c.name.label("study")).join_from(trials, studies),
        (trials.c.study_id, trials.c.number),
        {
            "study": lambda: string(studies.c.name),
            "user": lambda: string(studies.c.user),
            "archived": _archived,
            **_trial_fields(dialect),
            "number": lambda: number(trials.c.number),
            "attempts": lambda: number(trials.c.attempts),
            "worker": lambda: string_or_empty(last(runs.c.worker)),
            "host": lambda: string_or_empty(last(runs.c.host)),
        },
        {**_trial_documents(), "metrics": trials.c.metrics, "error": trials.c.error},
        {"notes": trials.c.notes, "optimizer": studies.c.optimizer},
        {"value": trials.c.state, "metrics": trials.c.state},
    )


def _runs(dialect: Dialect) -> Subject:
    source = (
        runs.join(studies, studies.c.id == runs.c.study_id)
        .join(trials, and_(trials.c.study_id == runs.c.study_id, trials.c.number == runs.c.trial))
        .outerjoin(environments)
        .outerjoin(codes)
    )
    return Subject(
        select(
            runs,
            studies.c.name.label("study"),
            environments.c.key.label("environment_key"),
            codes.c.key.label("code_key"),
        ).select_from(source),
        (runs.c.study_id, runs.c.trial, runs.c.attempt, runs.c.id),
        {
            "study": lambda: string(studies.c.name),
            "user": lambda: string(studies.c.user),
            "archived": _archived,
            **_trial_fields(dialect),
            **_timing(runs),
            "trial": lambda: number(runs.c.trial),
            "attempt": lambda: number(runs.c.attempt),
            "purpose": lambda: string(runs.c.purpose, _PURPOSES),
            "uid": lambda: string(runs.c.uid),
            "state": lambda: string(runs.c.state, _STATES),
            "worker": lambda: string_or_empty(runs.c.worker),
            "host": lambda: string_or_empty(runs.c.host),
            "pid": lambda: number(runs.c.pid),
            "output": lambda: string_or_empty(runs.c.output),
            "commit": lambda: string_or_empty(codes.c.commit),
            "objective": lambda: string_or_empty(codes.c.objective),
            "python": lambda: string_or_empty(environments.c.python),
            "platform": lambda: string_or_empty(environments.c.platform),
        },
        {
            **_trial_documents(),
            "metrics": runs.c.metrics,
            "error": runs.c.error,
            "packages": environments.c.packages,
        },
        {"notes": trials.c.notes, "optimizer": studies.c.optimizer},
        {"value": trials.c.state, "metrics": runs.c.state},
    )


def _studies(dialect: Dialect) -> Subject:
    def count(*conditions: ColumnElement[bool]) -> Expression:
        return (
            select(func.count())
            .select_from(trials)
            .where(trials.c.study_id == studies.c.id, *conditions)
            .scalar_subquery()
        )

    def best() -> Value:
        completed = (
            trials.c.study_id == studies.c.id,
            trials.c.state == State.COMPLETED.value,
            ~dialect.any_positive(trials.c.constraints),
        )
        least = select(func.min(trials.c.value)).where(*completed).scalar_subquery()
        most = select(func.max(trials.c.value)).where(*completed).scalar_subquery()
        return number(
            case((dialect.first(studies.c.goals, "direction") == "maximize", most), else_=least)
        )

    return Subject(
        select(studies),
        (studies.c.id,),
        {
            "study": lambda: string(studies.c.name),
            "user": lambda: string(studies.c.user),
            "archived": _archived,
            "name": lambda: string(studies.c.name),
            "uid": lambda: string(studies.c.uid),
            "seed": lambda: number(cast(cast(studies.c.seed, Text), Double)),
            "created": lambda: number(studies.c.created, Kind.TIME),
            "data": lambda: string_or_empty(studies.c.data),
            "metric": lambda: string(dialect.first(studies.c.goals, "metric")),
            "direction": lambda: string(
                dialect.first(studies.c.goals, "direction"), ("minimize", "maximize")
            ),
            "trials": lambda: number(count()),
            "completed": lambda: number(count(trials.c.state == State.COMPLETED.value)),
            "failed": lambda: number(count(trials.c.state == State.FAILED.value)),
            "best": best,
        },
        {"tags": studies.c.tags},
        {"notes": studies.c.notes, "optimizer": studies.c.optimizer},
    )


def _models(dialect: Dialect) -> Subject:
    version = model_versions
    source: FromClause = (
        version.join(models, models.c.id == version.c.model_id)
        .join(studies, studies.c.uid == version.c.study)
        .join(trials, and_(trials.c.study_id == studies.c.id, trials.c.number == version.c.trial))
        .outerjoin(artifacts, artifacts.c.id == version.c.artifact_id)
    )
    return Subject(
        select(models.c.name, version.c.version).select_from(source),
        (models.c.id, version.c.version),
        {
            "study": lambda: string(studies.c.name),
            "user": lambda: string(studies.c.user),
            **_trial_fields(dialect),
            "model": lambda: string(models.c.name),
            "name": lambda: string(models.c.name),
            "version": lambda: number(version.c.version),
            "alias": lambda: several(
                aliases.c.alias, aliases, aliases.c.version_id == version.c.id
            ),
            "trial": lambda: number(version.c.trial),
            "run": lambda: string(version.c.run),
            "value": lambda: number(version.c.value),
            "metric": lambda: string(version.c.metric),
            "direction": lambda: string(version.c.direction, ("minimize", "maximize")),
            "created": lambda: number(version.c.created, Kind.TIME),
            "format": lambda: string(artifacts.c.format),
            "data": lambda: string_or_empty(version.c.data),
        },
        {
            **_trial_documents(),
            "metrics": trials.c.metrics,
            "estimate": version.c.estimate,
        },
        {"notes": trials.c.notes, "optimizer": studies.c.optimizer},
    )


def _archived() -> Value:
    return boolean(studies.c.archived.is_not(None))


def _trial_fields(dialect: Dialect) -> dict[str, Callable[[], Value]]:
    """Return the fields of a trial that its runs and model versions share."""
    return {
        "state": lambda: string(trials.c.state, _STATES),
        "value": lambda: number(trials.c.value),
        "seed": lambda: number(cast(cast(trials.c.seed, Text), Double)),
        "feasible": lambda: boolean(~dialect.any_positive(trials.c.constraints)),
        **_timing(trials),
    }


def _trial_documents() -> dict[str, Expression]:
    return {
        "params": trials.c.params,
        "constraints": trials.c.constraints,
        "tags": studies.c.tags,
    }


def _timing(table: Table) -> dict[str, Callable[[], Value]]:
    return {
        "started": lambda: number(table.c.started, Kind.TIME),
        "ended": lambda: number(table.c.ended, Kind.TIME),
        "duration": lambda: number(table.c.ended - table.c.started, Kind.DURATION),
    }
