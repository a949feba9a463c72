"""Convert records to rows of the store, and rows to records."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Row

from tuner.errors.credentials import hide, hide_exact
from tuner.records import (
    Artifact,
    Code,
    Environment,
    Failure,
    Goal,
    OutcomeConstraint,
    Params,
    Run,
    RunPurpose,
    State,
    StudyInfo,
    Trial,
    decode_params,
    encode_params,
)
from tuner.signatures import Signature
from tuner.tracking import schema
from tuner.tracking.json_text import loads_all

if TYPE_CHECKING:
    from tuner.search_spaces import Space


class ParamsCodec:
    """Converts params to the flat JSON object in the store, and back.

    A study with an empty space keeps its params nested, unchanged.
    """

    def __init__(self, space: Mapping[str, Any]) -> None:
        self._space: Space | None = None
        if space:
            from tuner.search_spaces import Space

            self._space = Space.from_dict(space)

    def encode(self, params: Params) -> dict[str, Any]:
        """Return the stored form, such as ``{"model": "svm", "model.svm.C": 1.0}``."""
        return encode_params(params if self._space is None else self._space.flatten(params))

    def decode(self, stored: Mapping[str, Any]) -> Params:
        """Return the params that `encode` was given."""
        params = decode_params(stored)
        return params if self._space is None else self._space.unflatten(params)


def study_row(info: StudyInfo) -> dict[str, Any]:
    """Return the columns of a study."""
    return {
        "uid": info.uid,
        "name": info.name,
        "space": encode_params(info.space),
        "fingerprint": info.fingerprint,
        "goals": [goal_json(g) for g in info.goals],
        "seed": info.seed,
        "created": info.created,
        "optimizer": _json(info.optimizer),
        "data": info.data,
        "tags": _json({name: hide_exact(text) for name, text in info.tags.items()}),
        "constraints": [c.to_json() for c in info.constraints] or None,
        "earlier": _warm_start_json(info) or None,
        "user": info.user or None,
        "notes": _json(info.notes),
        "archived": info.archived,
        "deleted": info.deleted,
    }


def study_of(row: Row[Any]) -> StudyInfo:
    """Return the study of a row."""
    _check_numbers(row.seed, row.created, row.archived, row.deleted)
    return StudyInfo(
        uid=row.uid,
        name=row.name,
        space=decode_params(row.space),
        fingerprint=row.fingerprint,
        goals=tuple(Goal.from_json(g) for g in row.goals),
        seed=row.seed,
        created=row.created,
        optimizer=_dict(row.optimizer),
        data=row.data,
        tags=_dict(row.tags),
        constraints=tuple(OutcomeConstraint.from_json(c) for c in row.constraints or ()),
        warm_start_trials=warm_start_trials(row.earlier, row.space),
        user=row.user or "",
        notes=_dict(row.notes),
        archived=row.archived,
        deleted=row.deleted,
    )


def _warm_start_json(info: StudyInfo) -> list[dict[str, Any]]:
    codec = ParamsCodec(info.space)
    return [{**t.to_json(), "params": codec.encode(t.params)} for t in info.warm_start_trials]


def warm_start_trials(
    earlier: Sequence[Mapping[str, Any]] | None, space: Mapping[str, Any]
) -> tuple[Trial, ...]:
    """Return the earlier trials of a study, given two columns of its row."""
    if not earlier:
        return ()
    codec = ParamsCodec(decode_params(space))
    return tuple(
        replace(Trial.from_json({**data, "params": {}}), params=codec.decode(data["params"]))
        for data in earlier
    )


def goal_json(goal: Goal) -> dict[str, Any]:
    """Return both fields of a goal, including defaults, because queries read them."""
    return {"metric": goal.metric, "direction": goal.direction.value}


def trial_row(study_id: int, codec: ParamsCodec, trial: Trial) -> dict[str, Any]:
    """Return the columns of a trial."""
    return {
        "study_id": study_id,
        "number": trial.number,
        "state": trial.state.value,
        "params": codec.encode(trial.params),
        "value": number_or_null(trial.value),
        "values": encode_params({"": list(trial.values)})[""] if trial.values else None,
        "metrics": _json(trial.metrics),
        "error": _failure_json(trial.error),
        "seed": trial.seed,
        "attempts": trial.attempts,
        "started": trial.started,
        "ended": trial.ended,
        "notes": _json(trial.notes),
        "constraints": _json(trial.constraints),
    }


def decoded(part: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield rows of trials with their JSON text decoded."""
    columns: list[Sequence[Any]] = list(zip(*part, strict=True))
    for place in _JSON_PLACES if columns else ():
        columns[place] = loads_all(columns[place])
    return zip(*columns, strict=True)


_JSON_PLACES = [n for n, c in enumerate(schema.trials.columns) if isinstance(c.type, JSON)]


def trial_reader(codec: ParamsCodec) -> Callable[[Row[Any] | tuple[Any, ...]], Trial]:
    """Return a function that converts full rows of the table to trials."""

    def read(row: Row[Any] | tuple[Any, ...]) -> Trial:
        # By position, which is twice as fast as by name: studies have many trials.
        (
            _, number, state, params, _, values, metrics, error, seed, attempts, started, ended,
            notes, constraints,
        ) = tuple(row)  # fmt: skip
        _check_numbers(number, seed, attempts, started, ended)
        return Trial(
            number=number,
            params=codec.decode(params),
            state=_STATES[state],
            values=_values(values),
            metrics=_dict(metrics),
            error=_failure(error),
            seed=seed,
            attempts=attempts,
            started=started,
            ended=ended,
            notes=_dict(notes),
            constraints=_dict(constraints),
        )

    return read


def _values(stored: list[Any] | None) -> tuple[float, ...]:
    if not stored:
        return ()
    if all(type(value) is float for value in stored):
        return tuple(stored)
    values = tuple(decode_params({"": stored})[""])
    _check_numbers(*values)
    return values


def _check_numbers(*values: Any) -> None:
    """Refuse text or bytes in a column of numbers, which a damaged SQLite file may hold."""
    for value in values:
        if value is not None and type(value) is not int and type(value) is not float:
            raise TypeError(f"{value!r:.80} is where a number was written")


_STATES = {state.value: state for state in State}


def run_row(study_id: int, run: Run, key_ids: Mapping[str, int]) -> dict[str, Any]:
    """Return the columns of a run; `key_ids` gives the rows of its code and environment."""
    return {
        "uid": run.uid,
        "study_id": study_id,
        "trial": run.trial,
        "attempt": run.attempt,
        "state": run.state.value,
        "metrics": _json(run.metrics),
        "error": _failure_json(run.error),
        "worker": run.worker,
        "host": run.host,
        "pid": run.pid,
        "started": run.started,
        "ended": run.ended,
        "output": hide(run.output) if run.output else run.output,
        "environment_id": key_ids[run.environment] if run.environment else None,
        "code_id": key_ids[run.code] if run.code else None,
        "purpose": run.purpose.value,
        "seed": run.seed,
    }


def run_of(row: Row[Any]) -> Run:
    """Return the run of a row; the row has the keys of its code and environment."""
    _check_numbers(row.trial, row.attempt, row.pid, row.started, row.ended)
    return Run(
        uid=row.uid,
        trial=row.trial,
        attempt=row.attempt,
        state=State(row.state),
        metrics=_dict(row.metrics),
        error=_failure(row.error),
        worker=row.worker,
        host=row.host,
        pid=row.pid,
        started=row.started,
        ended=row.ended,
        output=row.output,
        environment=row.environment_key or "",
        code=row.code_key or "",
        purpose=RunPurpose(row.purpose),
        seed=row.seed,
    )


def artifact_row(run_id: int, artifact: Artifact) -> dict[str, Any]:
    """Return the columns of an artifact."""
    return {
        "run_id": run_id,
        "name": artifact.name,
        "path": artifact.path,
        "sha256": artifact.sha256,
        "size": artifact.size,
        "kind": artifact.kind,
        "format": artifact.format,
        "signature": None if artifact.signature is None else artifact.signature.to_dict(),
    }


def artifact_of(row: Row[Any]) -> Artifact:
    """Return the artifact of a row; the row has the uid of its run as `run`."""
    return Artifact(
        name=row.name,
        run=row.run,
        path=row.path,
        sha256=row.sha256,
        size=row.size,
        kind=row.kind,
        format=row.format,
        signature=None if row.signature is None else Signature.from_dict(row.signature),
    )


def code_row(key: str, code: Code) -> dict[str, Any]:
    """Return the columns of a `Code` record."""
    return {
        "key": key,
        "commit": code.commit,
        "diff": code.diff,
        "objective": code.objective,
        "source": code.source,
        "source_sha256": code.source_sha256,
    }


def code_of(row: Row[Any]) -> Code:
    """Return the code of a row."""
    return Code(row.commit, row.diff, row.objective, row.source, row.source_sha256)


def environment_row(key: str, environment: Environment) -> dict[str, Any]:
    """Return the columns of an environment."""
    return {
        "key": key,
        "python": environment.python,
        "platform": environment.platform,
        "packages": _json(environment.packages),
    }


def environment_of(row: Row[Any]) -> Environment:
    """Return the environment of a row."""
    return Environment(row.python, row.platform, _dict(row.packages))


def number_or_null(value: float | None) -> float | None:
    """Return the value for a numeric column; NaN becomes NULL, as SQLite does not support NaN."""
    return None if value is None or math.isnan(value) else float(value)


def _json(value: Mapping[str, Any]) -> dict[str, Any] | None:
    return encode_params(dict(value)) if value else None


def _dict(stored: Mapping[str, Any] | None) -> dict[str, Any]:
    return decode_params(stored) if stored else {}


def _failure_json(failure: Failure | None) -> dict[str, Any] | None:
    """Return the stored form of a failure, without credentials: a message may quote a password."""
    if failure is None:
        return None
    data = failure.to_json()
    return {key: hide(text) if isinstance(text, str) else text for key, text in data.items()}


def _failure(stored: Mapping[str, Any] | None) -> Failure | None:
    return None if stored is None else Failure.from_json(stored)
