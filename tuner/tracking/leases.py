"""Leases in the store: one driver at a time writes a study.

The row of a lease has an epoch that only grows. A driver takes the study by raising the epoch. Each
of its writes checks in the same transaction that the epoch is still the driver's. If a driver was
suspended while another one took over, all its later writes are therefore refused. The expiry time
in the row, by the clock of the database, only decides when a study may be taken; no write depends
on it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    Row,
    Select,
    bindparam,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.dml import ReturningInsert

from tuner.errors import StudyBusy, StudyTakenOver
from tuner.tracking import schema, upserts
from tuner.tracking.lease import Lease, LeaseOwner

Clock = Callable[[], float]
"""Seconds since the epoch; None, if allowed, means the clock of the database."""

PATIENCE = 3.0
"""Seconds after which PostgreSQL ends an idle transaction that holds a study."""

DRIVER_PATIENCE = 10.0
"""The same for a driver, which prepares large batches between its statements."""

_table = schema.leases

_given_up: set[tuple[str, LeaseOwner]] = set()
"""Studies released by drivers of this process, even if the store was unreachable at that time."""


def take(
    connection: Connection,
    study: tuple[int, str, str],
    owner: LeaseOwner,
    seconds: float,
    clock: Clock | None,
) -> Lease:
    """Make `owner` the writer of a study (its id, uid and name).

    Raises
    ------
    StudyBusy
        If another driver holds it, its lease has not expired, and its process is not known to be
        gone.
    """
    return _take(connection, study, owner, seconds, clock)


def _take(
    connection: Connection,
    study: tuple[int, str, str],
    owner: LeaseOwner,
    seconds: float | None,
    clock: Clock | None,
) -> Lease:
    """Take a study for `seconds`; None releases it at once."""
    study_id, uid, name = study
    if connection.dialect.name != "sqlite":
        # Lock the row of the study, because the lease may not have a row yet. In one round trip:
        # without parameters, PostgreSQL accepts several statements at once.
        connection.exec_driver_sql(
            f"SET LOCAL idle_in_transaction_session_timeout = {round(1e3 * PATIENCE)}; "
            f"SELECT id FROM studies WHERE id = {int(study_id)} FOR UPDATE",
            execution_options={"no_parameters": True},
        )
    found = _read(connection, study_id, clock)
    epoch = 1 if found is None else found.epoch + 1
    if found is not None and found.left > 0 and not _is_over(uid, found):
        raise StudyBusy(
            f"study {name!r} is run by {owner_of(found)}; let it end, or end it, or call again in "
            f"{found.left:.0f} s if nothing has been heard of it by then"
        )
    values = holding(study_id, owner) | {"epoch": epoch}
    if seconds is not None:
        values |= {"seconds": seconds} | _time(clock)
    statement = _taking(connection.dialect.name, clock is not None, seconds is not None)
    connection.execute(statement, values)
    silence = None
    if found is not None and found.until > 0 and seconds is not None:
        silence = max(0.0, seconds - found.left)
    return Lease(uid, epoch, owner, seconds or 0.0, silence)


@cache
def _taking(dialect: str, own_clock: bool, lasts: bool) -> upserts.Insert:
    """Return the upsert of a lease; cached, because building it takes longer than running it."""
    insert = upserts.replacing_in(dialect, _table)
    until = _now(dialect, own_clock) + bindparam("seconds", type_=Double) if lasts else 0.0
    return insert.values(until=until)


def renew(connection: Connection, study_id: int, lease: Lease, clock: Clock | None) -> None:
    """Restart the lease's time from now, and lock its row until the transaction ends.

    If the process is suspended meanwhile, PostgreSQL ends the transaction, so that a successor need
    not wait for the lock.

    Raises
    ------
    StudyTakenOver
        If another driver has the study.
    """
    until = _now(connection.dialect.name, clock is not None) + lease.seconds
    statement = (
        update(_table)
        .where(_table.c.study_id == study_id, _table.c.epoch == lease.epoch)
        .values(until=until)
    )
    if connection.dialect.name == "postgresql":
        statement = statement.returning(_end_if_idle(DRIVER_PATIENCE))
    if connection.execute(statement, _time(clock)).rowcount == 0:
        raise taken_over(connection, study_id, lease.epoch, clock)


def give_up(study: str, owner: LeaseOwner) -> None:
    """Release the study locally, even if the store is unreachable.

    Other drivers of this process may then take it.
    """
    _given_up.add((study, owner))


def release(connection: Connection, study_id: int, lease: Lease) -> None:
    """Release the study, unless another driver has it."""
    connection.execute(
        update(_table)
        .where(_table.c.study_id == study_id, _table.c.epoch == lease.epoch)
        .values(until=0.0)
    )


def advance(
    connection: Connection,
    study: tuple[int, str, str],
    owner: LeaseOwner,
    clock: Clock | None,
) -> int:
    """Take the study and release it within this transaction; return the new epoch.

    Raises
    ------
    StudyBusy
        If a driver holds it.
    """
    if connection.dialect.name == "postgresql":
        epoch = connection.execute(advancing(), holding(study[0], owner)).scalar()
        if epoch is not None:
            return int(epoch)
    return _take(connection, study, owner, None, clock).epoch


def holding(study_id: int, owner: LeaseOwner) -> dict[str, Any]:
    """Return the columns that say who holds a study."""
    return {
        "study_id": study_id,
        "host": owner.host,
        "pid": owner.pid,
        "process": owner.process,
    }


@cache
def advancing() -> ReturningInsert[*tuple[Any, ...]]:
    """Return the statement that locks a study and raises its epoch unless the study is held.

    One round trip for what `_take` does in three. It locks the row of the study first, as `_take`
    does. The upsert then sees the latest lease, even one committed while it waited for that lock.
    """
    studies = schema.studies
    locked = (
        select(studies.c.id)
        .where(studies.c.id == bindparam("study_id", type_=BigInteger))
        .with_for_update()
        .cte("locked")
    )
    row = {
        "study_id": locked.c.id,
        "epoch": literal_column("1"),
        "until": literal_column("0.0"),
        **{name: bindparam(name, type_=_table.c[name].type) for name in ("host", "pid", "process")},
    }
    insert = postgresql.insert(_table).from_select(list(row), select(*row.values()))
    changes = {name: insert.excluded[name] for name in ("until", "host", "pid", "process")}
    return insert.on_conflict_do_update(
        index_elements=[_table.c.study_id],
        set_=changes | {"epoch": _table.c.epoch + 1},
        where=_table.c.until == 0.0,
    ).returning(_table.c.epoch, _end_if_idle(PATIENCE))


def _end_if_idle(seconds: float) -> ColumnElement[str]:
    """Return the expression that has PostgreSQL end this transaction once it is idle for so long.

    As part of another statement, it takes no round trip of its own.
    """
    timeout = "idle_in_transaction_session_timeout"
    return func.set_config(timeout, f"{round(1e3 * seconds)}", True)


def settled_epoch(epoch: int | None, until: float | None) -> int | None:
    """Return the epoch of a lease, None if some driver may still write under it.

    The owner of an expired lease may write until the lease is released or taken. Trials may
    therefore change while the epoch does not.

    Parameters
    ----------
    epoch, until
        The columns of the lease; None if the study was never taken.
    """
    return None if until else epoch or 0


def current(
    connection: Connection, study_id: int, uid: str, clock: Clock | None
) -> tuple[int, LeaseOwner | None]:
    """Return the epoch, 0 if the study was never taken, and the current owner of the lease."""
    found = _read(connection, study_id, clock)
    if found is None:
        return 0, None
    held = found.left > 0 and not _is_over(uid, found)
    return found.epoch, owner_of(found) if held else None


def owner_of(row: Row[Any]) -> LeaseOwner:
    """Return the process that a row names."""
    return LeaseOwner(row.host, row.pid, row.process)


def _is_over(uid: str, row: Row[Any]) -> bool:
    """Return whether the owner has died or given up its lease, even if the store does not know."""
    owner = owner_of(row)
    return owner.is_gone or (uid, owner) in _given_up


def _read(connection: Connection, study_id: int, clock: Clock | None) -> Row[Any] | None:
    query = _reading(connection.dialect.name, clock is not None)
    return connection.execute(query, {"study": study_id} | _time(clock)).first()


@cache
def _reading(dialect: str, own_clock: bool) -> Select[Any]:
    left = (_table.c.until - _now(dialect, own_clock)).label("left")
    return select(_table, left).where(_table.c.study_id == bindparam("study", type_=BigInteger))


def taken_over(
    connection: Connection, study_id: int, epoch: int, clock: Clock | None
) -> StudyTakenOver:
    """Return the error that names the driver that took over since `epoch`."""
    found = _read(connection, study_id, clock)
    by = "another driver" if found is None else str(owner_of(found))
    return StudyTakenOver(
        f"this study was taken over by {by} after nothing was heard of this driver (epoch {epoch}) "
        f"for as long as its lease lasts; what it has not committed is not counted, and runs there"
    )


def _now(dialect: str, own_clock: bool) -> ColumnElement[float]:
    """Return the current time of the database, in seconds since the epoch."""
    if own_clock:
        return bindparam("now", type_=Double)
    if dialect == "sqlite":
        # Julian days; unixepoch('subsec') requires SQLite 3.42.
        return (func.julianday("now") - 2440587.5) * 86400.0
    return func.extract("epoch", func.clock_timestamp()).cast(Double)


def _time(clock: Clock | None) -> dict[str, float]:
    """Return the parameter of `_now`."""
    return {} if clock is None else {"now": clock()}
