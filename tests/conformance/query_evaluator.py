"""Reference evaluator of queries in plain Python, and the rows of records that it searches."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from tuner.query.syntax import (
    And,
    Comparison,
    Condition,
    Duration,
    Field,
    Like,
    Membership,
    Missing,
    Not,
    Operator,
    Or,
    Query,
)
from tuner.records import Run, State, StudyInfo, Trial

Row = dict[str, Any]
"""The fields of one match that queries can use: field to value; documents and trees are dicts."""

TIMES = ("started", "ended", "created")
TREES = ("notes", "optimizer")


def find(query: Query, table: Sequence[Row], now: float) -> list[int]:
    """Return the positions of the rows that a query finds, in its order."""
    condition = query.condition
    found = [
        i
        for i, row in enumerate(table)
        if condition is None or holds(condition, lambda f, row=row: look_up(f, row), now) is True
    ]
    for key in reversed(query.order):  # sorting is stable, so the last key goes first
        found.sort(key=lambda i, key=key: _rank(look_up(key.field, table[i]), key.descending))
        if key.field.path[0] in ("value", "metrics"):  # partial results come after final ones
            found.sort(key=lambda i, key=key: not _is_final(key.field, table[i]))
    end = None if query.limit is None else query.offset + query.limit
    return found[query.offset : end]


def _is_final(field: Field, row: Row) -> bool:
    """Return whether a row has a value of the field, from a completed trial or run."""
    state = row.get("trial state" if field.path[0] == "value" else "state", row.get("state"))
    return state in (None, "completed") and look_up(field, row) is not None


def look_up(field: Field, row: Row) -> Any:
    """Return the value of a field, None if it is missing or NaN."""
    first, *rest = field.path
    value = row.get(first)
    keys = rest if first in TREES else [".".join(rest)] if rest else []
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return None if value != value else value


def holds(condition: Condition, value_of: Callable[[Field], Any], now: float) -> bool | None:
    """Return whether a condition holds; None if a value is missing."""

    def again(inner: Condition) -> bool | None:
        return holds(inner, value_of, now)

    match condition:
        case Not(inner):
            return _not(again(inner))
        case And(conditions):
            results = [again(each) for each in conditions]
            return False if False in results else None if None in results else True
        case Or(conditions):
            results = [again(each) for each in conditions]
            return True if True in results else None if None in results else False
        case Missing(field, negated):
            return (value_of(field) is None) != negated
        case Like(field, pattern, negated):
            value = value_of(field)
            if not isinstance(value, str):
                return None
            return (re.fullmatch(_regex(pattern), value, re.DOTALL) is not None) != negated
        case Membership(field, options, negated):
            value = value_of(field)
            if value is None:
                return None
            known = [_constant(option, field, now) for option in options]
            return any(_equal(value, each) for each in known) != negated
        case Comparison(left, operator, right):
            field = left if isinstance(left, Field) else right
            a, b = (
                value_of(side) if isinstance(side, Field) else _constant(side, field, now)
                for side in (left, right)
            )
            return _compare(a, operator, b)


def _not(result: bool | None) -> bool | None:
    return None if result is None else not result


def _constant(constant: Any, field: Field, now: float) -> Any:
    if isinstance(constant, Duration):
        return constant.seconds + (now if field.path[0] in TIMES else 0)
    if field.path[0] in TIMES and isinstance(constant.value, str):
        return datetime.fromisoformat(constant.value).timestamp()
    return constant.value


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "other"


def _equal(a: Any, b: Any) -> bool:
    if _kind(a) != _kind(b) or _kind(a) == "other":
        return False
    return float(a) == float(b) if _kind(a) == "number" else a == b


def _compare(a: Any, operator: Operator, b: Any) -> bool | None:
    if a is None or b is None:
        return None
    if operator in ("=", "!="):
        return _equal(a, b) == (operator == "=")
    if _kind(a) != _kind(b) or _kind(a) not in ("number", "string"):
        return None
    if _kind(a) == "number":
        a, b = float(a), float(b)
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator]


def _rank(value: Any, descending: bool) -> tuple[Any, ...]:
    """Return a sort key: numbers first, then texts, then booleans, then unordered values."""
    kind = _kind(value)
    sign = -1 if descending else 1
    if kind == "number":
        return (0, sign * float(value))
    if kind == "string":
        return (1, tuple(sign * ord(c) for c in value) + ((0,) if not descending else (1,)))
    return (2, sign * int(value)) if kind == "boolean" else (3,)


def _regex(pattern: str) -> str:
    parts = re.findall(r"\\[%_\\]|.", pattern, re.DOTALL)
    return "".join({"%": ".*", "_": "."}.get(p, re.escape(p[-1])) for p in parts)


def _study(info: StudyInfo) -> Row:
    return {
        "study": info.name,
        "tags": info.tags,
        "optimizer": info.optimizer,
    }


def _feasible(trial: Trial) -> bool:
    return all(not value > 0 for value in trial.constraints.values())


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else b - a


def trial_row(info: StudyInfo, trial: Trial, last: Run | None) -> Row:
    """Return the fields of a trial that queries can use."""
    error = (
        {} if trial.error is None else {"kind": trial.error.kind, "message": trial.error.message}
    )
    return _study(info) | {
        "number": trial.number,
        "state": trial.state.value,
        "value": trial.value,
        "params": trial.params,
        "metrics": trial.metrics,
        "constraints": trial.constraints,
        "notes": trial.notes,
        "error": error,
        "seed": trial.seed,
        "attempts": trial.attempts,
        "started": trial.started,
        "ended": trial.ended,
        "duration": _difference(trial.started, trial.ended),
        "feasible": _feasible(trial),
        "worker": (last.worker or None) if last else None,
        "host": (last.host or None) if last else None,
    }


def run_row(info: StudyInfo, trial: Trial, run: Run) -> Row:
    """Return the fields of a run that queries can use."""
    return trial_row(info, trial, run) | {
        "trial": trial.number,
        "trial state": trial.state.value,
        "attempt": run.attempt,
        "uid": run.uid,
        "state": run.state.value,
        "metrics": run.metrics,
        "pid": run.pid,
        "output": run.output or None,
        "started": run.started,
        "ended": run.ended,
        "duration": _difference(run.started, run.ended),
    }


def study_row(info: StudyInfo, trials: Sequence[Trial]) -> Row:
    """Return the fields of a study that queries can use."""
    values = [
        t.value
        for t in trials
        if t.state is State.COMPLETED and t.value is not None and t.value == t.value
        if _feasible(t)
    ]
    best = max if info.goal.direction == "maximize" else min
    return _study(info) | {
        "name": info.name,
        "metric": info.goal.metric,
        "seed": info.seed,
        "created": info.created,
        "trials": len(trials),
        "completed": sum(t.state is State.COMPLETED for t in trials),
        "failed": sum(t.state is State.FAILED for t in trials),
        "best": best(values, default=None),
    }
