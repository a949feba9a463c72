"""The single-threaded writer commits between iterations and retries while the store is away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.simulation.inline_writer import InlineWriter
from tuner.backends.simulated.model import VirtualClock
from tuner.engine.writer import STORE_TIMEOUT
from tuner.errors import StoreUnavailable, StudyTakenOver
from tuner.records import Report, Run, State, StudyInfo, Trial
from tuner.search_spaces import Float, Space
from tuner.tracking.batch import Batch
from tuner.tracking.database.location import locate
from tuner.tracking.lease import LeaseOwner
from tuner.tracking.store import Store
from tuner.tracking.uuid7 import uuid7

LEASE = 20.0


class Place:
    """A store in virtual time with a leased study, and a writer with a switchable connection."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock()
        self.store = Store(locate(folder), clock=self.clock)
        space = Space({"x": Float(0, 1)})
        self.info = StudyInfo(uuid7(), "s", space.to_dict(), space.fingerprint, (), 0, 0.0)
        self.lease = self.store.acquire_lease(self.info, LeaseOwner("here", 1), LEASE)
        self.away = self.deaf = 0
        self.writes = 0
        self.writer = InlineWriter(self, self.lease, clock=self.clock, sleep=self.sleep)  # type: ignore[arg-type]

    def write(self, study: str, batch: Batch, lease: Any) -> None:
        if self.away:
            self.away -= 1
            raise StoreUnavailable("away")
        self.store.write(study, batch, lease)
        self.writes += 1
        if self.deaf:
            self.deaf -= 1
            raise StoreUnavailable("no answer")

    def sleep(self, seconds: float) -> None:
        self.clock.advance_to(self.clock() + seconds)

    def put(self, number: int) -> None:
        token = uuid7()
        self.writer.put(Trial(number, {"x": 0.5}, State.RUNNING, attempts=1), Run(token, number))
        self.writer.put(report=(token, Report(0, {"value": 1.0})))

    @property
    def numbers(self) -> list[int]:
        return [trial.number for trial in self.store.trials(self.info.uid)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_queued_records_are_committed_together_at_the_next_check(place: Place) -> None:
    place.put(0)
    place.put(1)
    assert place.numbers == []
    place.writer.check()
    assert place.numbers == [0, 1]
    assert place.writes == 1
    assert len(list(place.store.reports(place.info.uid))) == 2


def test_the_lease_is_renewed_only_when_it_is_due(place: Place) -> None:
    for _ in range(4):
        place.sleep(LEASE / 5)
        place.writer.check()
    assert place.writes == 2
    place.sleep(LEASE / 2)
    assert place.store.lease_owner(place.info.uid) == LeaseOwner("here", 1)


def test_the_driver_continues_while_the_store_is_unreachable(place: Place) -> None:
    place.away = 3
    for number in range(3):
        place.put(number)
        place.writer.check()
    assert place.numbers == []
    place.writer.check()
    place.writer.check()
    assert place.numbers == [0, 1, 2]


def test_a_commit_whose_answer_is_lost_is_repeated_safely(place: Place) -> None:
    place.deaf = 2
    place.put(0)
    for _ in range(3):
        place.writer.check()
    place.put(1)
    place.writer.close()
    assert place.numbers == [0, 1]
    assert len(list(place.store.runs(place.info.uid))) == 2
    assert len(list(place.store.reports(place.info.uid))) == 2


def test_close_waits_for_the_store(place: Place) -> None:
    place.away = 5
    place.put(0)
    place.writer.close()
    assert place.numbers == [0]


def test_an_unreachable_store_ends_the_study(place: Place) -> None:
    place.away = 1_000
    place.put(0)
    place.writer.check()
    place.sleep(STORE_TIMEOUT + 1)
    for action in (place.writer.check, place.writer.check, place.writer.close):
        with pytest.raises(StoreUnavailable):
            action()


def test_a_study_taken_over_is_not_written_again(place: Place) -> None:
    place.sleep(LEASE + 1)
    place.store.acquire_lease(place.info, LeaseOwner("there", 2), LEASE)
    place.put(0)
    for action in (place.writer.check, place.writer.check, place.writer.close):
        with pytest.raises(StudyTakenOver):
            action()
    assert place.numbers == []


def test_a_full_queue_is_committed_immediately(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("support.simulation.inline_writer.MAX_QUEUED", 3)
    place.away = 2
    for number in range(3):
        place.put(number)
    assert place.numbers == [0, 1]
    place.writer.close()
    assert place.numbers == [0, 1, 2]
