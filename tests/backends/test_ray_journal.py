"""What is known of a dead worker's packet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.backends.protocol import Finished, Sent
from tuner.backends.ray.health import reason
from tuner.backends.ray.journal import Journal, JournalPen
from tuner.records import Outcome, Report, State, Upload


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def ended(run: str) -> list:
    return [Sent(run, Report(0, {"value": 1.0})), Finished(run, Outcome(State.COMPLETED))]


def test_nothing_has_begun_until_it_is_written(journal: Journal) -> None:
    assert journal.read(1) == (0, [])


def test_the_last_one_begun_and_what_came_of_those_before(journal: Journal) -> None:
    pen = JournalPen(journal.path)
    pen.write(1, 1, [])
    pen.write(1, 2, ended("a"))
    pen.write(1, 3, ended("b"))
    assert journal.read(1) == (3, ended("a") + ended("b"))


def test_of_an_earlier_packet_nothing_is_kept(journal: Journal) -> None:
    pen = JournalPen(journal.path)
    pen.write(1, 1, [])
    pen.write(1, 2, ended("a"))
    assert journal.read(2) == (0, [])
    pen.write(2, 1, [])
    assert journal.read(2) == (1, [])
    assert Path(journal.path).stat().st_size < 100


def test_an_entry_cut_short_counts_for_nothing(journal: Journal) -> None:
    pen = JournalPen(journal.path)
    pen.write(1, 1, [])
    size = Path(journal.path).stat().st_size
    pen.write(1, 2, [Sent("a", Upload("file", {"x": b"\x00\xff" * 500}))])
    whole = Path(journal.path).read_bytes()
    for cut in range(size, len(whole)):
        Path(journal.path).write_bytes(whole[:cut])
        assert journal.read(1) == (1, [])


def test_it_is_removed_once_and_for_all(journal: Journal) -> None:
    journal.remove()
    journal.remove()
    assert not Path(journal.path).exists()


def test_reasons_are_short() -> None:
    said = (
        "The actor died unexpectedly before finishing this task.\n\tclass_name: Worker\nThe actor "
        "is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit "
        "detail: Worker unexpectedly exits. End of file. Some common causes include: (1) ..."
    )
    assert reason(RuntimeError(said)) == (
        "its worker process died (SYSTEM_ERROR): Worker unexpectedly exits. End of file."
    )
    assert reason(RuntimeError("first\nsecond")) == "first"
    assert reason(RuntimeError()) == "RuntimeError"
