"""The protocol between a peer's script and the benchmark: JSON lines on standard streams.

First comes the task: ``columns``, ``goals``, ``seed``, ``n_trials``, ``noisy``. A column has
``name``, ``kind`` (float, int, choice), ``low``, ``high``, ``log`` or ``options`` (how many; values
are indices), and ``parents``: pairs of a choice and the index that it must have. Then ``ask`` is
answered with a point of the active columns and the seconds it took, including the preceding `tell`;
``tell`` is not answered; ``choose`` is answered with the number of the trial that the peer takes
for the best one, or null if it only has the best value; ``end`` ends.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Protocol


class Sampler(Protocol):
    """A peer's sampler for one task."""

    def ask(self) -> dict[str, Any]:
        """Return values of the active columns by name."""

    def tell(self, loss: Any) -> None:
        """Take in the loss of the point last asked for; a list if there are several goals."""


def serve(make: Any) -> None:
    """Answer until the end; `make` turns a task into a `Sampler`."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not for the benchmark
    task = json.loads(sys.stdin.readline())
    sampler: Sampler = make(task)
    told = 0.0
    for line in sys.stdin:
        message = json.loads(line)
        if "ask" in message:
            began = time.perf_counter()
            point = sampler.ask()
            seconds = time.perf_counter() - began + told
            print(json.dumps({"point": point, "seconds": seconds}), file=answers, flush=True)
        elif "tell" in message:
            began = time.perf_counter()
            sampler.tell(message["tell"])
            told = time.perf_counter() - began
        elif "choose" in message:
            choose = getattr(sampler, "choose", None)
            answer = {"chosen": choose() if choose else None}
            print(json.dumps(answer), file=answers, flush=True)
        else:
            return


def active(column: dict[str, Any], point: dict[str, Any]) -> bool:
    """Whether every choice above a column is as it must be."""
    return all(point.get(parent) == option for parent, option in column["parents"])
