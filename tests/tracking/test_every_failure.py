"""After a failure at any step of a search, the store is intact and the search resumes.

Every statement, every commit (before it is done, and after it, when only the answer is lost) and
every write of a file is made to fail in turn.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, event
from sqlalchemy.dialects.sqlite.base import SQLiteDialect

import tuner
from tuner import Float, State, errors
from tuner.engine import writer
from tuner.tracking.database import maintenance

N_TRIALS = 2


class Failure:
    """Raises once, at the given number of calls."""

    def __init__(self, at: int, error: Callable[[], Exception]) -> None:
        self.at = at
        self.error = error
        self.happened = 0

    def happens(self, *_: Any) -> None:
        self.happened += 1
        if self.happened == self.at:
            raise self.error()


def broken() -> Exception:
    return sqlite3.OperationalError("broken for good")


def full() -> Exception:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorname = "SQLITE_FULL"
    return error


def no_space() -> Exception:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def failing_statements(failure: Failure, folder: Path) -> Iterator[None]:
    def execute(connection, cursor, statement, parameters, context, many):
        failure.happens()

    event.listen(Engine, "before_cursor_execute", execute)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", execute)


@contextmanager
def failing_commits(failure: Failure, folder: Path, *, done: bool = False) -> Iterator[None]:
    commit = SQLiteDialect.do_commit

    def do_commit(dialect: SQLiteDialect, connection: Any) -> None:
        if done:
            commit(dialect, connection)
        failure.happens()
        if not done:
            commit(dialect, connection)

    SQLiteDialect.do_commit = do_commit
    try:
        yield
    finally:
        SQLiteDialect.do_commit = commit


@contextmanager
def lost_answers(failure: Failure, folder: Path) -> Iterator[None]:
    with failing_commits(failure, folder, done=True):
        yield


_watched: list[tuple[Path, Failure]] = []


def _audit(name: str, args: tuple[Any, ...]) -> None:
    """See `sys.audit`: hears of every file that is opened, made or moved, and can forbid it."""
    if not _watched or name not in ("open", "os.mkdir", "os.rename", "os.link"):
        return
    folder, failure = _watched[0]
    writes = name != "open" or (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR))
    if writes and isinstance(args[0], str | os.PathLike) and str(args[0]).startswith(str(folder)):
        failure.happens()


@contextmanager
def failing_files(failure: Failure, folder: Path) -> Iterator[None]:
    if not getattr(sys, "_tuner_audited", False):
        sys._tuner_audited = True
        sys.addaudithook(_audit)
    _watched.append((folder, failure))
    try:
        yield
    finally:
        _watched.clear()


def search(folder: Path) -> tuner.Study:
    def objective(params, trial):
        for step in range(2):
            trial.report(params["x"] + step, step)
        trial.log_artifact(__file__, "file")
        return params["x"]

    return tuner.optimize(
        objective,
        {"x": Float(0, 1)},
        n_trials=N_TRIALS,
        backend="serial",
        optimizer="random",
        seed=1,
        study="s",
        store=folder,
        register=False,
        progress=False,
    )


KINDS = pytest.mark.parametrize(
    ("fails", "error"),
    [
        (failing_statements, broken),
        (failing_statements, full),
        (failing_commits, full),
        (lost_answers, full),
        (failing_files, no_space),
    ],
)


@pytest.mark.slow
@KINDS
def test_the_search_resumes_after_failures_at_sampled_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Any, error: Callable[[], Exception]
) -> None:
    fail_at_moments(tmp_path, monkeypatch, fails, error, most=8)


@pytest.mark.soak
@KINDS
def test_the_search_resumes_after_a_failure_at_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Any, error: Callable[[], Exception]
) -> None:
    fail_at_moments(tmp_path, monkeypatch, fails, error, most=10_000)


def fail_at_moments(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: Any,
    error: Callable[[], Exception],
    most: int,
) -> None:
    """Let a search fail at each of up to `most` moments, spread over the search, one per search."""
    monkeypatch.setattr(writer, "RETRY_DELAY", 0.001)
    count = Failure(0, error)
    with fails(count, tmp_path):
        search(tmp_path / "count")
    assert count.happened > 5
    ended = 0
    moments = np.linspace(1, count.happened, min(most, count.happened)).round().astype(int)
    for n in moments.tolist():
        folder = tmp_path / "store"
        failure = Failure(n, error)
        safe: dict[int, tuner.Trial] = {}
        try:
            with fails(failure, tmp_path):
                search(folder)
        except (errors.TunerError, OSError):
            ended += 1
        if folder.exists() and any(tuner.list_studies(store=folder)):
            study = tuner.load_study("s", store=folder)
            safe = {t.number: t for t in study if t.state.finished}
            assert list(maintenance.check(folder)) == [], f"failure {n}"
        again = search(folder)
        trials = {t.number: t for t in again}
        assert safe.items() <= trials.items(), f"failure {n}"
        # A failure inside the objective fails its trial, which is an outcome, too.
        states = [t.state for t in again]
        assert all(state.finished for state in states), f"failure {n}"
        assert len(states) == N_TRIALS, f"failure {n}"
        assert State.COMPLETED in states, f"failure {n}"
        assert all(len(again.reports(k)) >= 2 for k in trials), f"failure {n}"
        assert list(maintenance.check(folder)) == [], f"failure {n}"
        shutil.rmtree(folder)
    assert ended > 0, "what failed was noticed"
