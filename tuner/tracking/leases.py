"""One driver at a time writes a study: its lease, as a row of the store.

The row has an epoch that only grows. A driver takes the study by raising it, and each of its writes
asks in the same transaction that the epoch still is its own: so whatever a driver writes that was
frozen while another took over is refused as a whole, whenever it wakes up. The time in the row, by
the clock of the database, only decides when a study may be taken; no write rests on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Double, Row, func, literal, select, update

from tuner.errors import StudyBusy, StudyTakenOver
from tuner.tracking import schema, upserts
from tuner.tracking.lease import Holder, Lease

Clock = Callable[[], float]
"""Seconds since the epoch; None, where one may be given, is the clock of the database."""

_table = schema.leases

_given_up: set[tuple[str, Holder]] = set()
"""Studies and drivers of this process that have done with them, whether the store was told or not:
it may have been away just then."""


def take(
    connection: Connection,
    study: tuple[int, str, str],
    holder: Holder,
    seconds: float,
    clock: Clock | None,
) -> Lease:
    """Make `holder` the one who writes a study (its id, uid and name).

    Raises
    ------
    StudyBusy
        If another holds it, whose lease has not lapsed and whose process is not known to be gone.
    """
    study_id, uid, name = study
    # PostgreSQL: nobody else takes it meanwhile; the row of the lease may not be there yet.
    connection.execute(
        select(schema.studies.c.id).where(schema.studies.c.id == study_id).with_for_update()
    )
    found = _read(connection, study_id, clock)
    epoch = 1 if found is None else found.epoch + 1
    if found is not None and found.left > 0 and not _is_over(uid, found):
        raise StudyBusy(
            f"study {name!r} is run by {holder_of(found)}; let it end, or end it, or call again in "
            f"{found.left:.0f} s if nothing has been heard of it by then"
        )
    insert = upserts.insert(connection, _table)
    values = {
        "epoch": epoch,
        "until": _now(connection, clock) + seconds,
        "host": holder.host,
        "pid": holder.pid,
        "process": holder.process,
    }
    connection.execute(
        insert.values(study_id=study_id, **values).on_conflict_do_update(
            index_elements=["study_id"], set_=values
        )
    )
    return Lease(uid, epoch, holder, seconds)


def renew(connection: Connection, study_id: int, lease: Lease, clock: Clock | None) -> None:
    """Let the lease last from now on again, and hold it until the transaction ends.

    Raises
    ------
    StudyTakenOver
        If another driver has the study.
    """
    done = connection.execute(
        update(_table)
        .where(_table.c.study_id == study_id, _table.c.epoch == lease.epoch)
        .values(until=_now(connection, clock) + lease.seconds)
    )
    if done.rowcount == 0:
        raise _taken_over(connection, study_id, lease.epoch, clock)


def give_up(study: str, holder: Holder) -> None:
    """Do without the study, told or not: other drivers of this process may take it."""
    _given_up.add((study, holder))


def release(connection: Connection, study_id: int, lease: Lease) -> None:
    """Give the study back, unless another driver has it."""
    connection.execute(
        update(_table)
        .where(_table.c.study_id == study_id, _table.c.epoch == lease.epoch)
        .values(until=0.0)
    )


def advance(
    connection: Connection,
    study: tuple[int, str, str],
    epoch: int,
    holder: Holder,
    clock: Clock | None,
) -> int:
    """Take the study and give it back within this transaction; return the new epoch.

    Raises
    ------
    StudyTakenOver
        If another has written since `epoch`: what was decided upon then may not hold any more.
    StudyBusy
        If a driver holds it.
    """
    lease = take(connection, study, holder, 0.0, clock)
    if lease.epoch != epoch + 1:
        raise _taken_over(connection, study[0], epoch, clock)
    return lease.epoch


def current(
    connection: Connection, study_id: int, uid: str, clock: Clock | None
) -> tuple[int, Holder | None]:
    """Return the epoch, 0 if nobody ever held the study, and who holds it now."""
    found = _read(connection, study_id, clock)
    if found is None:
        return 0, None
    held = found.left > 0 and not _is_over(uid, found)
    return found.epoch, holder_of(found) if held else None


def holder_of(row: Row[Any]) -> Holder:
    """Return the process that a row names."""
    return Holder(row.host, row.pid, row.process)


def _is_over(uid: str, row: Row[Any]) -> bool:
    """Whether the holder is known to have done with its lease, though the store was not told."""
    holder = holder_of(row)
    return holder.is_gone or (uid, holder) in _given_up


def _read(connection: Connection, study_id: int, clock: Clock | None) -> Row[Any] | None:
    left = (_table.c.until - _now(connection, clock)).label("left")
    return connection.execute(select(_table, left).where(_table.c.study_id == study_id)).first()


def _taken_over(
    connection: Connection, study_id: int, epoch: int, clock: Clock | None
) -> StudyTakenOver:
    found = _read(connection, study_id, clock)
    by = "another driver" if found is None else str(holder_of(found))
    return StudyTakenOver(
        f"this study was taken over by {by} after nothing was heard of this driver (epoch {epoch}) "
        f"for as long as its lease lasts; what it has not committed is not counted, and runs there"
    )


def _now(connection: Connection, clock: Clock | None) -> ColumnElement[float]:
    """Return the time as the database sees it: seconds since the epoch."""
    if clock is not None:
        return literal(clock(), Double)
    if connection.dialect.name == "sqlite":
        # Julian days; unixepoch('subsec') is of SQLite 3.42.
        return (func.julianday("now") - 2440587.5) * 86400.0
    return func.extract("epoch", func.clock_timestamp()).cast(Double)
