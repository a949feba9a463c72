"""A peer's process, which does one search."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.quality.environment import interpreter
from benchmarks.quality.peers import HERE, PEERS

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Peer:
    """One search by a peer.

    Parameters
    ----------
    name
        One of `PEERS`.
    python
        The interpreter to run it with; None for the one of its environment.
    """

    def __init__(self, name: str, python: str | Path | None = None) -> None:
        self._name = name
        self._python = python

    def start(self, **task: Any) -> None:
        """Begin the search; see `protocol` for the format of a task."""
        spec = PEERS[self._name]
        self._said = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 (closed by close)
        self._process = subprocess.Popen(
            [self._python or interpreter(spec.environment), HERE / spec.script, *spec.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=os.environ | ONE_THREAD | {"PYTHONWARNINGS": "ignore"},
        )
        self._send(task)

    def ask(self) -> tuple[dict[str, Any], float]:
        """Return the values of the active columns, and how many seconds the suggestion took."""
        answer = self._answer({"ask": True})
        return answer["point"], answer["seconds"]

    def choose(self) -> int | None:
        """Return the number of the peer's winner; None if it has no choice but the best value."""
        chosen: int | None = self._answer({"choose": True})["chosen"]
        return chosen

    def tell(self, loss: float | list[float]) -> None:
        """Take in the loss of the last point."""
        self._send({"tell": loss})

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
        self._said.close()

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        self._send(message)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._complain()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            print(json.dumps(message), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            self._complain()

    def _complain(self) -> None:
        self._process.wait()
        self._said.seek(0)
        raise RuntimeError(f"{self._name} on {sys.platform} ended:\n{self._said.read()[-2000:]}")
