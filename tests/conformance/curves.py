"""Conformance tests for `Store`: packed and unpacked reports read the same."""

from __future__ import annotations

import math
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.stores import contents, finished, shared, study
from tuner.records import Report, Run, State, Trial
from tuner.tracking import Batch, Store
from tuner.tracking.uuid7 import uuid7

REPORTS = st.tuples(
    st.integers(0, 2),
    st.integers(0, 9) | st.integers(2**40, 2**63 - 1),
    st.dictionaries(
        st.sampled_from(["loss", "accuracy", "time"]), st.floats(allow_infinity=True), min_size=1
    ),
)
STEPS = st.lists(
    st.lists(REPORTS, max_size=6) | st.sampled_from(["compact", "end 0", "end 1", "end 2", "end"]),
    max_size=8,
)


class CurveConformance:
    """Subclass it with a `store` fixture."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    @shared
    @given(steps=STEPS)
    def test_packed_and_loose_reports_read_alike(
        self, store: Store, steps: list[str | list[tuple[int, int, dict[str, float]]]]
    ) -> None:
        info = study(store, uuid7())
        runs = [Run(uuid7(), 0, attempt) for attempt in (1, 2, 3)]
        trial = Trial(0, {"x": 1.0}, State.RUNNING, attempts=3)
        store.write(info.uid, Batch([trial], runs[:2]))
        expected: dict[str, dict[int, dict[str, float]]] = {r.uid: defaultdict(dict) for r in runs}
        batch = Batch(runs=runs[2:])
        for step in steps:
            if step == "compact":
                store.write(info.uid, batch)
                store.pack_metrics(info.uid)
                batch = Batch()
            elif isinstance(step, str):
                _, *which = step.split()
                ended = runs if not which else [runs[int(which[0])]]
                batch.runs += [Run(r.uid, 0, r.attempt, State.COMPLETED) for r in ended]
                store.write(info.uid, batch)
                store.write(info.uid, batch)
                batch = Batch()
            else:
                for which, number, metrics in step:
                    batch.reports.append((runs[which].uid, Report(number, metrics)))
                    expected[runs[which].uid][number].update(metrics)
        store.write(info.uid, batch)
        for _ in range(2):
            found = {r.uid: {} for r in runs}
            order = []
            for uid, report in store.reports(info.uid):
                found[uid][report.step] = report.metrics
                order.append((uid, report.step))
            assert _plain(found) == _plain(expected)
            assert order == [(r.uid, step) for r in runs for step in sorted(expected[r.uid])]
            store.pack_metrics(info.uid)

    def test_only_ended_runs_are_packed_and_only_once(self, store: Store) -> None:
        info = study(store)
        ended, going = Run(uuid7(), 0), Run(uuid7(), 1)
        trials = [Trial(n, {"x": 1.0}, State.RUNNING, attempts=1) for n in (0, 1)]
        reports = [
            (r.uid, Report(k, {"loss": 1.0 / (k + 1)})) for r in (ended, going) for k in range(9)
        ]
        store.write(info.uid, Batch(trials, [ended, going], reports))
        assert store.pack_metrics(info.uid) == 0
        store.write(info.uid, Batch([finished(0)], [Run(ended.uid, 0, state=State.COMPLETED)]))
        before = contents(store, info.uid)
        assert store.pack_metrics(info.uid, [going.uid]) == 0
        assert store.pack_metrics(info.uid, [ended.uid]) == 9
        assert store.pack_metrics(info.uid) == 0
        assert contents(store, info.uid) == before

    def test_the_reports_of_one_trial_are_read_alone(self, store: Store) -> None:
        info = study(store)
        runs = [Run(uuid7(), n, state=State.COMPLETED) for n in (0, 1)]
        reports = [(r.uid, Report(3, {"loss": float(r.trial)})) for r in runs]
        store.write(info.uid, Batch([finished(0), finished(1)], runs, reports))
        assert list(store.reports(info.uid, 1)) == [(runs[1].uid, Report(3, {"loss": 1.0}))]


def _plain(reports):
    """NaN equals NaN."""
    return {
        uid: {
            step: {k: "nan" if math.isnan(v) else v for k, v in metrics.items()}
            for step, metrics in by_step.items()
        }
        for uid, by_step in reports.items()
    }
