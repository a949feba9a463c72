"""Failed trials that run again under their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, select, update

from tuner.errors import ArgumentError
from tuner.records import State
from tuner.tracking import schema

if TYPE_CHECKING:
    from tuner.tracking.store import Store

_TRIALS = schema.trials

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
