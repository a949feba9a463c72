"""The checker reports violations as soon as a safeguard is removed."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, update

from support.simulation.checker import violations
from support.simulation.sweeps import sweep_database
from tuner.tracking import leases, schema, upserts
from tuner.tracking.lease import Lease

SEEDS = range(300)
"""All of these pass with the safeguards in place, see `test_sweeps.py`."""

CONSEQUENCES = {
    "one_outcome_a_trial",
    "an_outcome_never_changes",
    "nothing_committed_runs_again",
    "what_was_told_is_recorded",
    "attempts_count_up_by_one",
    "nothing_is_left_running",
}
"""Rules about trials, not about write permissions."""


def first_consequence() -> str:
    """Return the first violation about a trial, empty if none is found."""
    with sweep_database() as sweeps:
        for seed in SEEDS:
            _, history = sweeps.play(seed)
            for found in violations(history):
                if found.partition(":")[0] in CONSEQUENCES:
                    return f"seed {seed}: {found}"
    return ""


def renew_whatever_the_epoch(
    connection: Connection, study_id: int, lease: Lease, clock: Any
) -> None:
    table = schema.leases
    until = clock() + lease.seconds
    connection.execute(update(table).where(table.c.study_id == study_id).values(until=until))


@pytest.mark.slow
def test_the_checker_detects_missing_fencing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "renew", renew_whatever_the_epoch)
    assert first_consequence()


@pytest.mark.slow
def test_the_checker_detects_changed_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upserts, "unless_finished", upserts.replacing)
    assert first_consequence()


@pytest.mark.slow
def test_the_checker_detects_a_missing_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    take = leases.take

    def take_at_once(connection: Connection, study: Any, *others: Any) -> Lease:
        held = schema.leases.c.study_id == study[0]
        connection.execute(update(schema.leases).where(held).values(until=0.0))
        return take(connection, study, *others)

    monkeypatch.setattr(leases, "take", take_at_once)
    monkeypatch.setattr(leases, "renew", renew_whatever_the_epoch)
    assert first_consequence()
