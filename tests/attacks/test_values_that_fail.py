"""Values and exceptions that raise on any access fail their own trial only."""

from __future__ import annotations

import asyncio
import concurrent.futures
import enum
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tuner
from tuner import Float, State
from tuner.backends import SimulatedBackend
from tuner.records.failure import MESSAGE_LIMIT, TRACEBACK_LIMIT


class Broken:
    """Raises at every look, as a scalar of a GPU does after an error there."""

    def __init__(self, error: BaseException, **methods: Any) -> None:
        self.error = error

    def fail(self, *_: Any) -> Any:
        raise self.error

    __float__ = __index__ = __int__ = __bool__ = __len__ = __iter__ = __str__ = __repr__ = fail
    __lt__ = __gt__ = __eq__ = __hash__ = __array__ = item = fail  # type: ignore[assignment]
    shape = dtype = property(fail)


class Lazy:
    shape = ()

    def item(self) -> float:
        raise RuntimeError("CUDA error: device-side assert triggered")


class BrokenFloat(float):
    def __float__(self) -> float:
        raise RuntimeError("no value")


class BrokenArray(np.ndarray[Any, Any]):
    def item(self, *_: Any) -> Any:
        raise RuntimeError("no value")


class BrokenMapping(Mapping[str, float]):
    def __getitem__(self, key: str) -> float:
        raise RuntimeError("no item")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no keys")

    def __len__(self) -> int:
        raise RuntimeError("no length")


class BrokenKey:
    def __str__(self) -> str:
        raise RuntimeError("no name")


class Base(BaseException):
    """An exception that no ``except Exception`` catches."""


def lie(trial: Any) -> Any:
    """Raise an exception of which nothing can be read."""

    class Liar(Exception):
        def __str__(self) -> str:
            raise Base("no text")

        __repr__ = __str__
        __class__ = __traceback__ = __cause__ = __context__ = property(  # type: ignore[assignment]
            lambda self: 1 / 0
        )

    raise Liar


def hide(trial: Any) -> Any:
    """Raise an exception whose type does not tell its name."""

    class Hidden(type):
        __name__ = property(lambda cls: 1 / 0)  # type: ignore[assignment]

    class Nameless(Exception, metaclass=Hidden):
        pass

    raise Nameless


class Text(str):
    """A text of a class that the driver cannot import."""

    __slots__ = ()


class Name(enum.StrEnum):
    LOSS = "loss"


def raising(error: BaseException) -> Callable[[Any], Any]:
    def objective(trial: Any) -> Any:
        raise error

    return objective


def deep(trial: Any) -> Any:
    def call(n: int) -> int:
        return call(n + 1)

    return call(0)


def chained(trial: Any) -> Any:
    error: Exception | None = None
    for n in range(500):
        try:
            raise ValueError(f"{n}" * 1000) from error
        except ValueError as raised:
            error = raised
    assert error is not None
    raise error


def with_notes(trial: Any) -> Any:
    error = ValueError("with notes")
    error.__notes__ = [Broken(RuntimeError("no note"))]  # type: ignore[list-item]
    raise error


def restored_badly(trial: Any) -> Any:
    sys.stdout.write = None  # type: ignore[method-assign,assignment]
    raise ValueError("broke its process")


def undecodable_output(trial: Any) -> Any:
    with suppress(TypeError):
        sys.stdout.write(b"no text")  # type: ignore[arg-type]
    raise ValueError("wrote bytes")


CASES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "returned": (lambda t: Broken(RuntimeError("x")), "RuntimeError"),
    "returned base exception": (lambda t: Broken(Base("x")), "Base"),
    "lazy": (lambda t: Lazy(), "RuntimeError"),
    "float": (lambda t: BrokenFloat(1.0), "RuntimeError"),
    "array": (lambda t: np.array(1.0).view(BrokenArray), "RuntimeError"),
    "mapping": (lambda t: BrokenMapping(), "RuntimeError"),
    "key": (lambda t: {BrokenKey(): 1.0}, "RuntimeError"),
    "value in a dict": (lambda t: {"value": Lazy()}, "RuntimeError"),
    "reported": (lambda t: t.report(Broken(RuntimeError("x")), 0), "RuntimeError"),
    "reported mapping": (lambda t: t.report(BrokenMapping(), 0), "RuntimeError"),
    "step": (lambda t: t.report(1.0, Broken(RuntimeError("x"))), "RuntimeError"),
    "logged": (lambda t: t.log_metric("m", Lazy()), "RuntimeError"),
    "logged at a step": (lambda t: t.log_metrics({"m": Lazy()}, 3), "RuntimeError"),
    "logged key": (lambda t: t.log_metrics({BrokenKey(): 1.0}), "RuntimeError"),
    "constraint": (lambda t: t.report_constraint("c", Lazy()), "RuntimeError"),
    "cancelled": (raising(asyncio.CancelledError()), "CancelledError"),
    "future cancelled": (raising(concurrent.futures.CancelledError()), "CancelledError"),
    "generator exit": (raising(GeneratorExit()), "GeneratorExit"),
    "system exit": (raising(SystemExit(3)), "SystemExit"),
    "base exception": (raising(Base("x")), "Base"),
    "group": (raising(ExceptionGroup("g", [ValueError("a" * 10**5)] * 40)), "ExceptionGroup"),
    "base group": (raising(BaseExceptionGroup("g", [Base("x")])), "BaseExceptionGroup"),
    "liar": (lie, "Liar"),
    "nameless": (hide, "Nameless"),
    "text subclass": (raising(ValueError(Text("odd"))), "ValueError"),
    "recursion": (deep, "RecursionError"),
    "memory": (lambda t: bytearray(2**62), "MemoryError"),
    "chained": (chained, "ValueError"),
    "notes": (with_notes, "ValueError"),
    "stdout": (restored_badly, "ValueError"),
    "bytes": (undecodable_output, "ValueError"),
    "long message": (raising(ValueError("x" * 5_000_000)), "ValueError"),
    "huge step": (lambda t: t.log_metric("tokens", 1.0, step=2**63), "ArgumentError"),
    "gigantic step": (lambda t: t.report(1.0, 10**5000), "ArgumentError"),
    "long name": (lambda t: t.log_metric("m" * 2800, 1.0, step=1), "ArgumentError"),
    "long final name": (lambda t: t.log_metric("m" * 2800, 1.0), "ArgumentError"),
    "long constraint": (lambda t: t.report_constraint("c" * 2800, 0.0), "ArgumentError"),
    "NUL": (lambda t: t.log_metric("a\0b", 1.0), "ArgumentError"),
    "surrogate": (lambda t: t.log_metric("a\ud800b", 1.0, step=0), "ArgumentError"),
}


def objective(params: dict[str, Any], trial: Any) -> Any:
    """Fail in even trials, each in its own way; succeed in odd ones, with odd but sound values."""
    which, odd = divmod(trial.number, 2)
    if not odd:
        return list(CASES.values())[which][0](trial)
    trial.log_metric(Name.LOSS, np.float32(0.5))
    trial.log_metric(Text("text"), 1, step=2**63 - 1)
    return {Text("value"): BrokenText(params["x"])}


class BrokenText(float):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def check(study: tuner.Study) -> None:
    for trial in study:
        which, odd = divmod(trial.number, 2)
        name, (_, kind) = list(CASES.items())[which]
        assert trial.attempts == 1, (name, trial.error)
        if odd:
            assert trial.state is State.COMPLETED, (name, trial.error)
            assert trial.metrics["loss"] == 0.5
            continue
        assert trial.state is State.FAILED, name
        assert trial.error is not None
        assert trial.error.kind == kind, (name, trial.error)
        assert "Traceback" in trial.error.traceback or name in ("liar", "chained"), name
        assert len(trial.error.message) <= MESSAGE_LIMIT
        assert len(trial.error.traceback) <= TRACEBACK_LIMIT
    assert len(study.trials) == 2 * len(CASES)
    text = next(t for t in study if t.error and "xxxx" in t.error.message).error
    assert text is not None
    assert "characters cut" in text.message
    assert "characters cut" in text.traceback


@pytest.mark.parametrize("backend", ["serial", "simulated"])
def test_a_value_that_cannot_be_read_fails_its_trial_and_no_other(
    tmp_path: Path, backend: str
) -> None:
    where = SimulatedBackend(workers=4) if backend == "simulated" else backend
    study = search(tmp_path, where)
    check(study)
    assert (tmp_path / "tuner.db").stat().st_size < 10_000_000


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_value_that_cannot_be_read_fails_its_trial_and_no_other_on_ray(tmp_path: Path) -> None:
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    check(search(tmp_path, "ray"))


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_keyboard_interrupt_in_the_objective_is_not_a_lost_worker(tmp_path: Path) -> None:
    def interrupted(params: dict[str, Any], trial: Any) -> float:
        if trial.number == 3:
            raise KeyboardInterrupt
        return 0.0

    study = tuner.optimize(
        interrupted, {"x": Float(0, 1)}, n_trials=8, store=tmp_path, progress=False,
        optimizer="random", register=False,
    )  # fmt: skip
    failed = study.trials[3]
    assert failed.attempts == 1
    assert failed.error is not None
    assert failed.error.kind == "KeyboardInterrupt"
    assert "interrupted" in failed.error.traceback


def search(store: Path, backend: Any) -> tuner.Study:
    return tuner.optimize(
        objective, {"x": Float(0, 1)}, n_trials=2 * len(CASES), backend=backend, store=store,
        optimizer="random", register=False, progress=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        Broken(RuntimeError("x")), Broken(Base("x")), Lazy(), BrokenMapping(), {BrokenKey(): 1.0},
        BrokenFloat(1.0), {"value": Lazy()}, 10**400, "low",
    ],
    ids=lambda _: "value",
)  # fmt: skip
def test_a_value_that_cannot_be_read_can_be_told_and_fails(tmp_path: Path, value: Any) -> None:
    study = tuner.create_study({"x": Float(0, 1)}, store=tmp_path)
    trial = study.ask()
    told = study.tell(trial, value)
    assert told.state is State.FAILED
    assert study.trials[0] == told
    assert study.tell(study.ask(), 1.0).state is State.COMPLETED


@pytest.mark.parametrize("reason", [Broken(RuntimeError("x")), Broken(Base("x")), "r" * 5_000_000])
def test_an_unreadable_or_long_failure_reason_is_recorded(tmp_path: Path, reason: Any) -> None:
    study = tuner.create_study({"x": Float(0, 1)}, store=tmp_path)
    told = study.tell(study.ask(), reason, state="failed")
    assert told.error is not None
    assert told.error.kind == "Told"
    assert 0 < len(told.error.message) <= MESSAGE_LIMIT
    assert study.trials[0] == told


def test_several_goals_that_cannot_be_read_fail_the_trial(tmp_path: Path) -> None:
    class Short(tuple):  # type: ignore[type-arg]
        def __len__(self) -> int:
            raise RuntimeError("no length")

    returned = [(1.0, Lazy()), [Broken(Base("x")), 1.0], Short((1.0, 2.0)), (1.0, 2.0)]
    study = tuner.optimize(
        lambda params, trial: returned[trial.number], {"x": Float(0, 1)}, n_trials=4,
        direction=["minimize", "maximize"], backend="serial", store=tmp_path, progress=False,
        optimizer="random", register=False,
    )  # fmt: skip
    assert [t.state for t in study] == [State.FAILED] * 3 + [State.COMPLETED]
