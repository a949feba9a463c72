"""Leases in the store: one driver at a time writes a study.

The row of a lease has an epoch that only grows. A driver takes the study by raising the epoch. Each
of its writes checks in the same transaction that the epoch is still the driver's. If a driver was
suspended while another one took over, all its later writes are therefore refused. The expiry time
in the row, by the clock of the database, only decides when a study may be taken; no write depends
on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

from tuner.errors import StoreError, StudyBusy, StudyNotFound, StudyTakenOver
from tuner.tracking import schema, upserts
from tuner.tracking.database.failures import was_idle
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
    StudyNotFound
        If the study was deleted.
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
    found = _read(connection, study_id, clock, f"study {name!r}")
    epoch = 1 + (found.epoch or 0)
    if _is_held(uid, found):
        holder = owner_of(found)
        if (holder.host, holder.pid) == (owner.host, owner.pid):
            raise StudyBusy(
                f"study {name!r} is being optimized by this process; call again when the search "
                f"has ended, or write study.stop()"
            )
        raise StudyBusy(
            f"study {name!r} is run by {holder}; let it end, or end it, or call again in "
            f"{found.left:.0f} s if nothing has been heard of it by then"
        )
    values = holding(study_id, owner) | {"epoch": epoch}
    if seconds is not None:
        values |= {"seconds": seconds} | _time(clock)
    statement = _taking(connection.dialect.name, clock is not None, seconds is not None)
    connection.execute(statement, values)
    silence = None
    if found.until and seconds is not None:
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
    StudyNotFound
        If the study was deleted.
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


def check_exists(connection: Connection, study_id: int, name: str) -> None:
    """Check that a study is not deleted, and prevent that until the transaction ends.

    Raises
    ------
    StudyNotFound
        If the study was deleted.
    """
    studies = schema.studies
    query = select(studies.c.id).where(studies.c.id == study_id, studies.c.deleted.is_(None))
    query = query.with_for_update(read=True, key_share=True)
    if connection.execute(query).first() is None:
        raise deleted(f"study {name!r}")


def deleted(study: str) -> StudyNotFound:
    """Return the error of a write to a study that was deleted after it was loaded."""
    return StudyNotFound(
        f"{study} was deleted; it takes no more trials or changes: create a new study, of the same "
        f"name if you like"
    )


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
    StudyNotFound
        If it was deleted.
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
    """Return the statement that locks a study and raises its epoch unless it is held or deleted.

    One round trip for what `_take` does in three. It locks the row of the study first, as `_take`
    does. The upsert then sees the latest lease, even one committed while it waited for that lock.
    """
    studies = schema.studies
    locked = (
        select(studies.c.id)
        .where(studies.c.id == bindparam("study_id", type_=BigInteger), studies.c.deleted.is_(None))
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
    return found.epoch or 0, owner_of(found) if _is_held(uid, found) else None


def owner_of(row: Row[Any]) -> LeaseOwner:
    """Return the process that a row names."""
    return LeaseOwner(row.host, row.pid, row.process)


def _is_held(uid: str, row: Row[Any]) -> bool:
    """Return whether a driver holds the study that has not died or given up its lease.

    The store may not know of either.
    """
    if row.left is None or row.left <= 0:
        return False
    owner = owner_of(row)
    return not owner.is_gone and (uid, owner) not in _given_up


def _read(
    connection: Connection, study_id: int, clock: Clock | None, study: str = "this study"
) -> Row[Any]:
    """Return the lease of a study; all columns are None if it was never taken."""
    query = _reading(connection.dialect.name, clock is not None)
    row = connection.execute(query, {"study": study_id} | _time(clock)).first()
    if row is None:
        raise StudyNotFound(f"{study} is not in its store any more; check that nobody replaced it")
    if row.deleted is not None:
        raise deleted(study)
    return row


@cache
def _reading(dialect: str, own_clock: bool) -> Select[Any]:
    studies = schema.studies
    left = (_table.c.until - _now(dialect, own_clock)).label("left")
    return (
        select(_table, left, studies.c.deleted)
        .select_from(studies.outerjoin(_table))
        .where(studies.c.id == bindparam("study", type_=BigInteger))
    )


@contextmanager
def not_idle() -> Iterator[None]:
    """Raise `StudyTakenOver` if PostgreSQL ended the transaction of a suspended process.

    Other drivers may have written in the meantime.
    """
    try:
        yield
    except StoreError as error:
        if not was_idle(error):
            raise
        raise StudyTakenOver(f"{error}; look again at what is there") from error


def taken_over(
    connection: Connection, study_id: int, epoch: int, clock: Clock | None
) -> StudyTakenOver:
    """Return the error that names the driver that took over since `epoch`.

    Raises
    ------
    StudyNotFound
        If the study was deleted instead.
    """
    found = _read(connection, study_id, clock)
    by = "another driver" if found.epoch is None else str(owner_of(found))
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
