"""Conformance tests for the leases of a `Store`: one writer at a time."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from conformance.stores import contents, finished, study
from support.forks import new_processes
from support.store_writers import take_and_die, try_to_take
from tuner.errors import StudyBusy, StudyExists, StudyNotFound, StudyTakenOver
from tuner.records import Report, Run, State, Trial
from tuner.tracking import Batch, Store
from tuner.tracking.batch import Changes
from tuner.tracking.lease import LeaseOwner, new_lease_owner
from tuner.tracking.uuid7 import uuid7

ELSEWHERE = LeaseOwner("elsewhere", 4711, "boot/pid:[1]/99")
ANOTHER = LeaseOwner("another", 4712, "boot/pid:[1]/98")
LONG = 3600.0


class LeaseConformance:
    """Subclass it with a `store` fixture that gives an empty store."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    def test_a_held_study_names_its_holder(self, store: Store) -> None:
        info = study(store)
        lease = store.acquire_lease(info, ELSEWHERE, LONG)
        assert (lease.study, lease.epoch, lease.owner) == (info.uid, 1, ELSEWHERE)
        with pytest.raises(StudyBusy, match=r"'study' is run by process 4711 on elsewhere.* s "):
            store.acquire_lease(info, ANOTHER, LONG)
        store.write(info.uid, Batch([finished(0)]), lease)
        assert [t.number for t in store.trials(info.uid)] == [0]

    def test_a_study_that_is_new_is_recorded_when_it_is_taken(self, store: Store) -> None:
        info = study(store)
        new = replace(info, name="new", uid=uuid7())
        store.acquire_lease(new, ELSEWHERE, LONG)
        assert store.find_study("new") == new

    def test_another_study_of_the_name_is_not_taken(self, store: Store) -> None:
        info = study(store)
        with pytest.raises(StudyExists, match="made by another process"):
            store.acquire_lease(replace(info, uid=uuid7()), ELSEWHERE, LONG)
        assert store.study_epoch(info.uid) == 0

    def test_a_released_study_can_be_acquired(self, store: Store) -> None:
        info = study(store)
        store.release_lease(store.acquire_lease(info, ELSEWHERE, LONG))
        assert store.acquire_lease(info, ANOTHER, LONG).epoch == 2

    def test_a_holder_that_lost_its_lease_cannot_write(self, store: Store) -> None:
        info = study(store)
        early = store.acquire_lease(info, ELSEWHERE, 0.0)
        run = Run(uuid7(), 0)
        store.write(
            info.uid, Batch([Trial(0, {"x": 1.0}, State.RUNNING, attempts=1)], [run]), early
        )
        late = store.acquire_lease(info, ANOTHER, LONG)
        before = contents(store, info.uid)
        outcome = Batch([finished(0)], [run], [(run.uid, Report(0, {"value": 1.0}))])
        for batch in (outcome, Batch()):
            with pytest.raises(StudyTakenOver, match="process 4712 on another"):
                store.write(info.uid, batch, early)
        store.release_lease(early)
        assert contents(store, info.uid) == before
        store.write(info.uid, outcome, late)
        assert [t.state for t in store.trials(info.uid)] == [State.COMPLETED]

    def test_an_expired_lease_is_valid_until_it_is_taken_over(self, store: Store) -> None:
        info = study(store)
        lease = store.acquire_lease(info, ELSEWHERE, 0.0)
        store.write(info.uid, Batch([finished(0)]), lease)
        assert len(list(store.trials(info.uid))) == 1

    def test_every_write_renews_the_lease(self, store: Store) -> None:
        info = study(store)
        lapsed = store.acquire_lease(info, ELSEWHERE, 0.0)
        store.write(info.uid, Batch(), replace(lapsed, seconds=LONG))
        with pytest.raises(StudyBusy):
            store.acquire_lease(info, ANOTHER, LONG)

    def test_a_holder_whose_process_has_ended_holds_nothing(self, store: Store) -> None:
        info = study(store)
        child = new_processes().Process(target=take_and_die, args=(store.url, info.name))
        child.start()
        child.join(60)
        assert store.study_epoch(info.uid) == 1
        assert store.acquire_lease(info, new_lease_owner(), LONG).epoch == 2

    def test_a_new_holder_keeps_the_lease_until_release(self, store: Store) -> None:
        info = study(store)
        store.acquire_lease(info, new_lease_owner(), LONG)
        with pytest.raises(StudyBusy):
            store.acquire_lease(info, new_lease_owner(), LONG)

    def test_an_earlier_attempt_does_not_overwrite_a_later_one(self, store: Store) -> None:
        info = study(store)
        second = Trial(0, {"x": 1.0}, State.RUNNING, attempts=2)
        store.write(info.uid, Batch([second]))
        store.write(info.uid, Batch([finished(0)]))
        assert list(store.trials(info.uid)) == [second]

    def test_a_write_without_a_lease_requires_the_seen_epoch(self, store: Store) -> None:
        info = study(store)
        epoch = store.write_if_epoch(info.uid, Batch([finished(0)]), 0, ELSEWHERE)
        assert epoch == store.study_epoch(info.uid) == 1
        with pytest.raises(StudyTakenOver):
            store.write_if_epoch(info.uid, Batch([finished(1)]), 0, ANOTHER)
        assert len(list(store.trials(info.uid))) == 1
        assert store.write_if_epoch(info.uid, Batch([finished(1)]), 1, ANOTHER) == 2
        lease = store.acquire_lease(info, ELSEWHERE, LONG)
        with pytest.raises(StudyBusy):
            store.write_if_epoch(info.uid, Batch([finished(2)]), 3, ANOTHER)
        store.write(info.uid, Batch([finished(2)]), lease)
        assert len(list(store.trials(info.uid))) == 3

    def test_a_write_succeeds_if_others_changed_only_other_trials(self, store: Store) -> None:
        info = study(store)
        store.write_if_epoch(info.uid, Batch([running(0)]), 0, ELSEWHERE)
        store.write_if_epoch(info.uid, Batch([running(1)]), 1, ANOTHER)
        places = {0: (State.RUNNING, 1), 2: None}
        assert store.write_if_epoch(info.uid, Batch([finished(0)]), 1, ELSEWHERE, places) == 3
        for wrong in (
            {0: (State.RUNNING, 1)},
            {1: (State.RUNNING, 2)},
            {1: (State.WAITING, 1)},
            {1: None},
            {2: (State.RUNNING, 1)},
            {1: (State.RUNNING, 1), 0: (State.RUNNING, 1)},
            {1: (State.RUNNING, 1), 2: None, 0: None},
        ):
            before = contents(store, info.uid)
            batch = Batch([finished(number) for number in wrong])
            with pytest.raises(StudyTakenOver):
                store.write_if_epoch(info.uid, batch, 1, ELSEWHERE, wrong)
            assert contents(store, info.uid) == before
            assert store.study_epoch(info.uid) == 3, "nothing of it is kept"
        store.acquire_lease(info, ELSEWHERE, LONG)
        with pytest.raises(StudyBusy):
            store.write_if_epoch(
                info.uid, Batch([finished(1)]), 1, ANOTHER, {1: (State.RUNNING, 1)}
            )

    def test_any_value_and_text_of_an_ask_or_tell_round_trips(self, store: Store) -> None:
        info = study(store)
        text = 'a\x00\x1a\ud800"\\é'
        values = (math.inf, -math.inf, math.nan, 1e-310, -0.0, 0.1)
        trials = [
            Trial(n, {"x": text}, State.COMPLETED, (value,), {"m": value}, seed=2**100 + n)
            for n, value in enumerate(values)
        ]
        runs = [Run(uuid7(), n, worker=text, output=text) for n in range(len(values))]
        store.write_if_epoch(info.uid, Batch(trials, runs), 0, ELSEWHERE)
        assert repr(list(store.trials(info.uid))) == repr(trials)
        assert list(store.runs(info.uid)) == runs

    def test_a_reader_gets_new_trials_only(self, store: Store) -> None:
        info = study(store)
        assert store.changes(info.uid, -1, {}) == Changes(0, [])
        epoch = store.write_if_epoch(info.uid, Batch([running(n) for n in range(4)]), 0, ELSEWHERE)
        found = store.changes(info.uid, -1, {})
        assert found == Changes(epoch, [running(n) for n in range(4)])
        known = {t.number: (t.state, t.attempts) for t in found.trials}
        assert store.changes(info.uid, 3, known) == Changes(epoch, [])
        again = Trial(2, {"x": 2.0}, State.RUNNING, attempts=2)
        given_up = Trial(3, {"x": 3.0}, State.WAITING, attempts=1)
        changed = [finished(1), again, given_up, running(4), finished(5)]
        store.write_if_epoch(info.uid, Batch(changed), epoch, ELSEWHERE)
        assert store.changes(info.uid, 3, known) == Changes(epoch + 1, changed)
        many = dict.fromkeys(range(2000), (State.RUNNING, 1))
        others = [finished(1), again, given_up, finished(5)]
        assert store.changes(info.uid, 1999, many).trials == others

    def test_a_reader_cannot_rely_on_the_epoch_while_a_driver_may_write(self, store: Store) -> None:
        info = study(store)
        lease = store.acquire_lease(info, ELSEWHERE, 0.001)
        time.sleep(0.01)
        assert store.changes(info.uid, -1, {}).epoch is None, "an expired lease stays its owner's"
        store.write(info.uid, Batch([finished(0)]), lease)
        assert [t.number for t in store.changes(info.uid, -1, {}).trials] == [0]
        store.release_lease(lease)
        assert store.changes(info.uid, 0, {}) == Changes(1, [])

    def test_reports_and_runs_of_several_trials(self, store: Store) -> None:
        info = study(store)
        runs = [Run(uuid7(), n) for n in range(4)]
        reports = [(run.uid, Report(k, {"value": 1.0})) for run in runs for k in range(2)]
        store.write(info.uid, Batch([finished(n) for n in range(4)], runs, reports))
        wanted = {runs[1].uid, runs[3].uid}
        assert {run.uid for run in store.runs(info.uid, [1, 3])} == wanted
        found = list(store.reports(info.uid, [1, 3]))
        assert found == [entry for entry in reports if entry[0] in wanted]
        assert list(store.runs(info.uid, [])) == []

    def test_turns_do_not_block_other_studies_or_writes(self, store: Store) -> None:
        info = study(store)
        other = store.create_study(replace(info, name="other", uid=uuid7()))
        with store.turn(info.uid), store.turn(other.uid):
            store.write_if_epoch(info.uid, Batch([finished(0)]), 0, ELSEWHERE)

    def test_turns_are_taken_one_after_the_other(self, store: Store) -> None:
        info = study(store)
        inside = 0
        most = 0

        def take(_: int) -> None:
            nonlocal inside, most
            with store.turn(info.uid):
                inside += 1
                most = max(most, inside)
                time.sleep(0.01)
                inside -= 1

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(take, range(12)))
        assert most == 1

    def test_an_unknown_study_has_no_lease(self, store: Store) -> None:
        study(store)
        with pytest.raises(StudyNotFound):
            store.study_epoch(uuid7())
        with pytest.raises(StudyNotFound):
            store.write_if_epoch(uuid7(), Batch([finished(0)]), 0, ELSEWHERE)
        with pytest.raises(StudyNotFound):
            store.changes(uuid7(), -1, {})
        with pytest.raises(StudyNotFound):
            store.turn(uuid7())

    def test_one_of_many_concurrent_drivers_gets_the_lease(self, store: Store) -> None:
        info = study(store)
        context = new_processes()
        with context.Pool(4) as pool:
            taken = pool.map(try_to_take, [(store.url, info.name, n) for n in range(12)], 3)
        assert sum(taken) == 1
        assert store.study_epoch(info.uid) == 1


def running(number: int) -> Trial:
    return Trial(number, {"x": float(number)}, State.RUNNING, attempts=1)
