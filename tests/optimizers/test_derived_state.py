"""Derived state equals a fold over the whole history, and processes each row once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tuner.optimizers.history import RECENT, DerivedState, HistoryRow, Observation, TrialTable
from tuner.search_spaces import Float, Space

SPACE = Space({"x": Float(0.0, 1.0)})

events = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from([0.0, 0.5, float("nan")]),
        st.booleans(),
        st.dictionaries(st.sampled_from("ab"), st.sampled_from([0.0, 1.0]), max_size=2),
    ),
    max_size=25,
)


def text(row: HistoryRow) -> str:
    return repr((row.x, row.active, row.values, row.stopped, row.constraints))


def log() -> DerivedState[tuple[str, ...]]:
    return DerivedState(tuple, lambda state, row: (*state, text(row)))


@given(events)
def test_derived_state_equals_a_full_fold_after_late_outcomes(events) -> None:
    table, kept = TrialTable(SPACE), log()
    assert kept.at(table.history([])) == kept.at(table.history([{"x": 0.5}])) == ()
    for number, loss, stopped, constraints in events:
        table.add(number, Observation({"x": number / 12}, [loss], stopped, constraints))
        history = table.history([])
        assert kept.at(history) == log().at(history)


def test_each_row_is_processed_once_and_a_late_outcome_repeats_only_those_after_it() -> None:
    table, seen = TrialTable(SPACE), []
    kept = DerivedState(lambda: 0, lambda state, row: seen.append(row.loss) or state + 1)
    for number in (*range(50), *range(51, 60)):
        table.add(number, Observation({"x": 0.5}, [float(number)]))
        kept.at(table.history([]))
        kept.at(table.history([{"x": 0.1}]))
    assert seen == [*range(50), *range(51, 60)]
    seen.clear()
    table.add(50, Observation({"x": 0.5}, [50.0]))
    assert kept.at(table.history([])) == 60
    assert seen == list(range(50, 60))


def test_a_change_before_the_cached_states_restarts_the_fold() -> None:
    table, kept = TrialTable(SPACE), log()
    for number in range(1, RECENT + 20):
        table.add(number, Observation({"x": 0.5}, [float(number)]))
        kept.at(table.history([]))
    table.add(0, Observation({"x": 0.0}, [0.0]))
    assert kept.at(table.history([])) == log().at(table.history([]))
