"""The contestants: our optimizers in this process, and peers in separate environments."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import tuner
from benchmarks.quality import noise
from benchmarks.quality.problem import Problem
from tuner.optimizers import estimates, racing, resolve
from tuner.optimizers.protocol import Optimizer
from tuner.records import Goal, Outcome, Params, State, Trial
from tuner.search_spaces import Bool, Choice, Column, Const, Float, Int, Ordinal, Space

OURS = ("random", "tpe", "bayesian", "auto")


class Search(Protocol):
    """The interface of one search."""

    def ask(self, pending: Sequence[Trial]) -> tuple[Params, float]:
        """Return a point and the seconds that the suggestion took."""

    def tell(self, trial: Trial, loss: float) -> None:
        """Record the loss of a trial."""

    def choose(self, trials: Sequence[Trial]) -> int | None:
        """Return the number of the winner among the told `trials`; None for the best value."""

    def confirm(
        self, trials: Sequence[Trial], repeat: Callable[[Trial], float], runs: int
    ) -> int | None:
        """Return the winner after at most `runs` repeats; None if the search cannot confirm."""


class Ours:
    """A search by an optimizer of `tuner`."""

    def __init__(self, optimizer: Optimizer, problem: Problem, seed: int) -> None:
        self._optimizer = optimizer
        self._space = problem.space
        optimizer.reset(problem.space, [Goal()], seed)

    def ask(self, pending: Sequence[Trial]) -> tuple[Params, float]:
        """Return a point and the seconds that the suggestion took."""
        began = time.perf_counter()
        (params,) = self._optimizer.ask(1, pending)
        return params, time.perf_counter() - began

    def tell(self, trial: Trial, loss: float) -> None:
        """Record the loss of a trial."""
        self._optimizer.tell(trial, Outcome(State.COMPLETED, {"value": loss}))

    def choose(self, trials: Sequence[Trial]) -> int | None:
        """Return the number of the winner among the told `trials`, as `Study.winner` does."""
        return estimates.estimate(self._space, Goal(), trials).winner.trial

    def confirm(
        self, trials: Sequence[Trial], repeat: Callable[[Trial], float], runs: int
    ) -> int | None:
        """Return the winner after at most `runs` repeats, as `Study.confirm` does."""
        race = racing.Race()
        values: dict[int, list[float]] = {}
        found = estimates.estimate(self._space, Goal(), trials)
        for done in range(runs):
            if racing.is_decided(race, found, done):
                break
            (number,) = racing.next_repeats(race, found, {}, 1)
            values.setdefault(number, []).append(repeat(trials[number]))
            found = estimates.estimate(self._space, Goal(), trials, values)
        return found.winner.trial


class Theirs:
    """A search by a peer, which sees the space as flat columns and categories as indices."""

    def __init__(self, peer: Any, space: Space) -> None:
        self._peer = peer
        self._space = space
        self._columns = {column.path: column for column in space.columns}
        self._points: dict[int, dict[str, Any]] = {}

    def ask(self, pending: Sequence[Trial]) -> tuple[Params, float]:  # noqa: ARG002
        """Return a point and the seconds that the suggestion took."""
        flat, seconds = self._peer.ask()
        values = {name: _value(self._columns[name], value) for name, value in flat.items()}
        constants = {
            path: column.domain.value
            for path, column in self._columns.items()
            if isinstance(column.domain, Const) and path not in values
        }
        return self._space.unflatten(values | constants), seconds

    def tell(self, trial: Trial, loss: float) -> None:  # noqa: ARG002
        """Record the loss of a trial."""
        self._peer.tell(loss)

    def choose(self, trials: Sequence[Trial]) -> int | None:  # noqa: ARG002
        """Return the peer's own choice; None if it has no other than the best value."""
        chosen: int | None = self._peer.choose()
        return chosen

    def confirm(
        self,
        trials: Sequence[Trial],  # noqa: ARG002
        repeat: Callable[[Trial], float],  # noqa: ARG002
        runs: int,  # noqa: ARG002
    ) -> int | None:
        """Return None: peers have no way to confirm a winner."""
        return None


@contextmanager
def begin(name: str, problem: Problem, seed: int, n_trials: int) -> Iterator[Search]:
    """Start a search by an optimizer of `tuner` or by a peer."""
    if name in OURS:
        yield Ours(resolve(name), problem, seed)
        return
    from benchmarks.quality.peers.process import Peer

    columns = [description(column, problem.space) for column in problem.space.columns]
    noisy = problem.observe is not None
    peer = Peer(name)
    peer.start(columns=columns, goals=1, seed=seed, n_trials=n_trials, noisy=noisy)
    try:
        yield Theirs(peer, problem.space)
    finally:
        peer.close()


def description(column: Column, space: Space) -> dict[str, Any]:
    """Return a column in the format for peers."""
    domain = column.domain
    choices = {c.path: c.domain for c in space.columns}
    parents = [[path, choices[path].index(option)] for path, option in column.parents]  # type: ignore[attr-defined]
    known: dict[str, Any] = {"name": column.path, "parents": parents, "log": False}
    if isinstance(domain, Choice | Bool | Const):
        return known | {"kind": "choice", "options": int(domain.size)}
    if isinstance(domain, Ordinal):
        return known | {"kind": "int", "low": 0, "high": int(domain.size) - 1}
    kind = "float" if isinstance(domain, Float) else "int"
    return known | {"kind": kind, "low": domain.low, "high": domain.high, "log": domain.log}  # type: ignore[attr-defined]


def _value(column: Column, value: Any) -> Any:
    domain = column.domain
    if isinstance(domain, Choice | Bool | Const | Ordinal):
        return list(domain.grid(int(domain.size)))[round(value)]
    return round(value) if isinstance(domain, Int) else value


# --- dependencies of a result ------------------------------------------------------------------


def fingerprint(name: str) -> str:
    """Return a key that changes with the code of an optimizer and winners, or a peer's version.

    It also changes with the code that draws the noise.
    """
    digest = hashlib.sha256(_meaning(Path(noise.__file__)))
    if name not in OURS:
        from benchmarks.quality.peers import PEERS

        digest.update(PEERS[name].fingerprint().encode())
        return digest.hexdigest()[:12]
    optimizer, winner = type(resolve(name)).__module__, estimates.__name__
    for path in sorted(_sources(optimizer) | _sources(winner)):
        digest.update(_meaning(path))
    return digest.hexdigest()[:12]


def _sources(module: str) -> set[Path]:
    """Return a module's file and the files of `tuner` that it imports, transitively."""
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _path(name)
        if name in found or path is None or path.name == "__init__.py":
            continue
        found[name] = path
        waiting += _imports(path)
    return set(found.values())


@cache
def _path(name: str) -> Path | None:
    if not name.startswith(tuner.__name__ + "."):
        return None
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def _meaning(path: Path) -> bytes:
    """Return a file's code without comments and docstrings."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            del body[0]
    return ast.dump(tree).encode()
