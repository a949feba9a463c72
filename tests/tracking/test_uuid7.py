from __future__ import annotations

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tuner.tracking import uuid7 as module
from tuner.tracking.uuid7 import uuid7


def test_a_uid_is_an_rfc_9562_uuid_with_the_current_time() -> None:
    before = time.time_ns() // 1_000_000
    parsed = uuid.UUID(uuid7())
    after = time.time_ns() // 1_000_000
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert before <= parsed.int >> 80 <= after + 1


def test_uids_increase_within_a_process() -> None:
    made = [uuid7() for _ in range(50_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_uids_are_unique_among_threads() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [
            u for part in pool.map(lambda _: [uuid7() for _ in range(5000)], range(8)) for u in part
        ]
    assert len(set(made)) == 40_000


def test_uids_increase_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = uuid7()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert first < uuid7() < uuid7()


def test_a_full_counter_advances_the_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_last_ms", 1 << 47)
    monkeypatch.setattr(module, "_counter", (1 << 42) - 1)
    made = uuid7()
    assert int(made, 16) >> 80 == (1 << 47) + 1
    assert made < uuid7()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.process
def test_forked_children_have_separate_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    made = [[uuid7() for _ in range(100)]]
    for _ in range(2):
        ours, theirs = os.pipe()
        if (child := os.fork()) == 0:
            os.write(theirs, " ".join(uuid7() for _ in range(100)).encode())
            os._exit(0)
        os.waitpid(child, 0)
        made.append(os.read(ours, 100_000).decode().split())
        os.close(ours)
        os.close(theirs)
    # Not only different: the counters began at different places.
    assert len({u[:24] for part in made for u in part}) == 300
