"""The history of a model: alias changes, approvals and new rules, in their order."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from tuner.errors.credentials import hide_exact
from tuner.records import Record
from tuner.tracking import schema

_HISTORY = schema.model_history


@dataclass(frozen=True, slots=True)
class ModelEvent(Record):
    """One act on a model; the history keeps it until the model is deleted.

    Attributes
    ----------
    action : str
        ``"register"``, ``"promote"``, ``"set"``, ``"rollback"``, ``"delete"`` or ``"upgrade"`` (of
        the store) if an alias moved; else ``"approve"``, ``"rules"`` or ``"drift"``.
    at : float
        Seconds since the epoch, UTC.
    who : str
        The acting user, as given by the process; "" if unknown.
    why : str
        The reason, as given by the user or by the rules.
    alias : str or None
        The alias that moved.
    before : int or None
        The version that had the alias.
    after : int or None
        The version that has the alias, or that was approved or checked for drift.
    result : dict or None
        The decision of the rules, see `Decision.to_json`, the new rules, or the result of a drift
        check, see `DriftReport.summary`.
    """

    action: str
    at: float
    who: str = ""
    why: str = ""
    alias: str | None = None
    before: int | None = None
    after: int | None = None
    result: dict[str, Any] | None = None

    def in_words(self) -> str:
        """Return the act as one line.

        Examples
        --------
        >>> ModelEvent("set", 0.0, "ann", "audit", "champion", 1, 2).in_words()
        'set: champion from version 1 to version 2, by ann: audit'
        """
        by = f", by {self.who}" if self.who else ""
        why = f": {self.why}" if self.why else ""
        return f"{self.action}: {self._what()}{by}{why}"

    def _what(self) -> str:
        if self.alias is None:
            return "new rules" if self.after is None else f"version {self.after}"
        before = "no version" if self.before is None else f"version {self.before}"
        after = "no version" if self.after is None else f"version {self.after}"
        return f"{self.alias} from {before} to {after}"


@dataclass(frozen=True, slots=True)
class Act:
    """An action of a user, with its reason."""

    action: str
    who: str
    why: str = ""


def append(
    connection: Connection,
    model_id: int,
    act: Act,
    *,
    alias: str | None = None,
    before: int | None = None,
    after: int | None = None,
    result: Mapping[str, Any] | None = None,
) -> None:
    """Add an event to the history of a locked model."""
    connection.execute(
        _HISTORY.insert(),
        {
            "model_id": model_id,
            "action": act.action,
            "at": time.time(),
            "who": act.who,
            "why": hide_exact(act.why),
            "alias": alias,
            "before": before,
            "after": after,
            "result": result,
        },
    )


def events(connection: Connection, model_id: int, alias: str | None = None) -> list[ModelEvent]:
    """Return the events of a model, oldest first; with `alias`, those that moved it."""
    query = select(_HISTORY).where(_HISTORY.c.model_id == model_id).order_by(_HISTORY.c.id)
    if alias is not None:
        query = query.where(_HISTORY.c.alias == alias)
    return [
        ModelEvent(r.action, r.at, r.who, r.why, r.alias, r.before, r.after, r.result)
        for r in connection.execute(query)
    ]


def approvals(events: Iterable[ModelEvent], version: int) -> tuple[str, ...]:
    """Return the names of those who approved a version."""
    return tuple(
        dict.fromkeys(e.who for e in events if e.action == "approve" and e.after == version)
    )


def previous_holder(events: Iterable[ModelEvent], versions: Collection[int]) -> int | None:
    """Return the version that had an alias before its present one; None if there is none.

    A rollback undoes the changes since its target had the alias, so repeated rollbacks go further
    back. Deleted versions, which are not among `versions`, are skipped.

    Examples
    --------
    >>> moves = [("set", 1), ("set", 2), ("set", 3), ("rollback", 2)]
    >>> changes = [ModelEvent(action, 0.0, alias="a", after=after) for action, after in moves]
    >>> previous_holder(changes, {1, 2, 3})
    1
    """
    holders: list[int | None] = []
    for event in events:
        if event.action == "rollback":
            while holders and holders[-1] != event.after:
                holders.pop()
        if not holders or holders[-1] != event.after:
            holders.append(event.after)
    present = holders.pop() if holders else None
    earlier = (h for h in reversed(holders) if h in versions and h != present)
    return next(earlier, None)
