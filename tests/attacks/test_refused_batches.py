"""A store that refuses a value fails the trial that recorded it, and commits everything else."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tuner
from benchmarks.postgres import own_server
from support.effort import examples
from tuner import Float, State, errors
from tuner.engine.writer import Writer
from tuner.records import NOT_SAVED, Report, Run, StudyInfo, Trial, Upload
from tuner.records.bounds import LONGEST_NAME, MAX_STEP
from tuner.search_spaces import Space
from tuner.tracking import open_store
from tuner.tracking.lease import new_lease_owner
from tuner.tracking.store import Store
from tuner.tracking.uuid7 import uuid7

letters = random.Random(0)
INCOMPRESSIBLE = "".join(chr(letters.randrange(0x4E00, 0x9FFF)) for _ in range(2800))


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with own_server(in_memory=True) as server:
        yield server.new_database()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql"))
    return str(tmp_path_factory.mktemp("store"))


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# Changes that make a trial's records invalid, behind the checks of `LiveTrial`.
steps = st.sampled_from([2**63, 10**30, -(2**63) - 1, -(2**63), -1]) | st.integers(
    -(2**70), 2**70
).filter(lambda n: not 0 <= n <= MAX_STEP)
names = st.sampled_from(["m" * 2800, INCOMPRESSIBLE, "\0", "\ud800", "a\x1ab"])
notes = st.sampled_from([object(), nested(100_000), {1j: 2}, {("a",): 1}, "\ud800\0", b"bytes"])
oddities = st.one_of(
    st.tuples(st.just("step"), steps),
    st.tuples(st.just("name"), names),
    st.tuples(st.just("note"), notes),
    st.tuples(st.just("path"), st.sampled_from(["a" * 300, "\ud800" * 100, "../up"])),
)


def put_trial(writer: Writer, number: int, oddity: tuple[str, Any] | None, flush: bool) -> None:
    kind, value = oddity or ("", None)
    uid = uuid7()
    writer.put(trial=Trial(number, {"x": 0.5}, State.RUNNING, attempts=1), run=Run(uid, number))
    writer.put(report=(uid, Report(0, {"value": 1.0})))
    if kind == "step":
        writer.put(report=(uid, Report(value, {"value": 1.0})))
    if kind == "name":
        writer.put(report=(uid, Report(1, {value: 1.0})))
    if kind == "path":
        writer.put(upload=(uid, Upload("kept", {value: b"content"})))
    if flush:
        writer.flush()
    metrics = {value if kind == "name" else "value": 1.0}
    writer.put(
        trial=Trial(
            number, {"x": 0.5}, State.COMPLETED, (1.0,), metrics, attempts=1,
            notes={"odd": value} if kind == "note" else {},
        ),
        run=Run(uid, number, state=State.COMPLETED, metrics=metrics),
    )  # fmt: skip


def write(url: str, oddities: list[tuple[str, Any] | None], flushes: list[bool]) -> list[Trial]:
    store: Store = open_store(url)
    space = Space({"x": Float(0, 1)})
    info = StudyInfo(uuid7(), uuid7(), space.to_dict(), space.fingerprint, (), 0, 0.0)
    writer = Writer(store, store.acquire_lease(info, new_lease_owner(), 30.0))
    for number, (oddity, flush) in enumerate(zip(oddities, flushes, strict=False)):
        put_trial(writer, number, oddity, flush)
    writer.check()
    writer.close()
    return list(store.trials(info.uid))


@settings(
    max_examples=examples(12),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_only_trials_with_refused_values_fail(url: str, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    odd = data.draw(st.lists(st.none() | oddities, min_size=count, max_size=count))
    flushes = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    trials = write(url, odd, flushes)
    assert len(trials) == count
    for trial, oddity in zip(trials, odd, strict=True):
        if oddity is not None and oddity[0] == "path":
            # The file is not kept, the value is.
            assert (trial.state, trial.values) == (State.COMPLETED, (1.0,))
            assert trial.error is not None
            assert trial.error.kind == NOT_SAVED
            continue
        if trial.state is State.COMPLETED:
            continue
        assert oddity is not None, trial.error
        assert trial.state is State.FAILED
        assert trial.error is not None
        assert trial.error.kind == "Refused"
    refused = {n for n, oddity in enumerate(odd) if oddity and certainly_refused(*oddity)}
    assert refused <= {t.number for t in trials if t.state is State.FAILED}


def certainly_refused(kind: str, value: Any) -> bool:
    if kind == "step":
        return bool(abs(value) > 2**63)
    if kind == "name":
        return len(value) > LONGEST_NAME
    return kind != "path" and value.__class__ is object


def test_the_neighbors_of_a_refused_trial_are_committed_in_few_transactions(url: str) -> None:
    odd: list[tuple[str, Any] | None] = [None] * 500
    odd[137] = ("step", 2**63)
    trials = write(url, odd, [False] * 500)
    assert [t.number for t in trials if t.state is not State.COMPLETED] == [137]


@pytest.mark.soak
@settings(
    max_examples=examples(500),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_only_trials_with_refused_values_fail_in_long_searches(
    url: str, data: st.DataObject
) -> None:
    test_only_trials_with_refused_values_fail.hypothesis.inner_test(url, data)  # type: ignore[attr-defined]


texts = st.text(st.characters() | st.sampled_from("\0\x1a\ud800\udfff"), max_size=3000)
values: st.SearchStrategy[Any] = st.one_of(
    st.floats(), st.integers(), st.booleans(), st.none(), texts, st.binary(), st.complex_numbers(),
    st.decimals(), st.fractions(),
)  # fmt: skip


@pytest.mark.slow
@settings(
    max_examples=examples(12),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_value_of_a_trial_breaks_its_study(url: str, data: st.DataObject) -> None:
    drawn: dict[int, list[Callable[[Any], Any]]] = {
        number: data.draw(st.lists(calls(), max_size=3)) for number in range(1, 4)
    }
    odd = st.lists(values | st.dictionaries(texts, values, max_size=3), min_size=3, max_size=3)
    returned = [0.0, *data.draw(odd)]

    def objective(params: dict[str, Any], trial: Any) -> Any:
        for call in drawn.get(trial.number, ()):
            call(trial)
        return returned[trial.number]

    study = tuner.optimize(
        objective, {"x": Float(0, 1)}, n_trials=4, backend="serial", store=url, progress=False,
        optimizer="random", register=False, study=uuid7(),
    )  # fmt: skip
    assert [t.state.finished for t in study] == [True] * 4
    study.reports()
    again = tuner.create_study({"x": Float(0, 1)}, store=url, study=uuid7())
    for value in returned:
        if value is None:
            with pytest.raises(errors.ArgumentError):
                again.tell(again.ask(), value)
        else:
            assert again.tell(again.ask(), value).state.finished
    tuner.load_study(study.name, store=url)


def calls() -> st.SearchStrategy[Callable[[Any], Any]]:
    odd_steps = st.integers(-5, 2**64) | values
    return st.one_of(
        st.builds(lambda v, s: lambda t: t.report(v, s), values, odd_steps),
        st.builds(lambda n, v, s: lambda t: t.log_metric(n, v, s), texts, values, odd_steps),
        st.builds(lambda n, v: lambda t: t.report_constraint(n, v), texts, values),
        st.builds(lambda n: lambda t: t.log_artifact(Path(__file__), n), texts),
    )


@pytest.mark.parametrize("name", ["a" * 501, "a\0b", "a\ud800"])
def test_invalid_names_are_refused_before_the_first_trial(name: str) -> None:
    store = tempfile.mkdtemp()
    space = {"x": Float(0, 1)}
    for options in ({"metric": name}, {"tags": {name: "x"}}, {"study": name}):
        with pytest.raises(errors.ArgumentError):
            tuner.optimize(
                lambda p: 0.0, space, n_trials=1, backend="serial", store=store, **options
            )
    study = tuner.create_study(space, store=store)
    with pytest.raises(errors.ArgumentError):
        study.set_tag(name, "x")
    told = study.tell(study.ask(), 1.0)
    with pytest.raises(errors.ArgumentError):
        study.set_note(told, name, 1)
    for note in ("a" * 2**21, nested(100_000), object()):
        with pytest.raises(errors.ArgumentError):
            study.set_note(told, "note", note)
    assert study.trials == [told]
