"""Finds the Ray workers that Ray still takes for alive, but that will never say anything again.

Ray notices that a process has ended, within a moment, and that a machine is gone, within 15 s to
a minute. It never notices a worker that is frozen. A busy worker answers a poll every second
from a thread of its own, unless its objective lets no other thread run, which may be quite in
order: a large matrix is inverted in native code. So silence alone proves nothing. It is a reason
to look at the process, which tells the one from the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tuner.backends.processes import Condition, Process, condition_of
from tuner.backends.ray_member import Member

SILENCE = 10.0
"""Seconds that a busy worker may leave a poll unanswered until its process is looked at."""

FROZEN = 5.0
"""Seconds between the first look that finds a process frozen, and the one that ends it."""

UNREACHABLE = 30.0
"""Seconds within which a silent worker's node must say how the worker stands."""

STEP = 2.0
"""Seconds that pass here from one look to the next, at most: this process may itself have slept."""


@dataclass(slots=True)
class _Silence:
    """What is known of a worker since it left `poll` unanswered; times by the guard's clock."""

    poll: Any
    since: float
    question: Any = None
    asked: float = 0.0
    frozen: float | None = None


class Guard:
    """Watches the busy workers of a pool.

    Parameters
    ----------
    node
        Ray's id of the node that this process is on. Other nodes are asked by a task that runs
        there.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._silent: dict[Member, _Silence] = {}
        self._clock = 0.0
        self._last: float | None = None

    def look(self, members: Iterable[Member], now: float) -> list[tuple[Member, str]]:
        """Return the workers that will say nothing more, and why, at `now` (seconds)."""
        if self._last is not None:
            self._clock += min(now - self._last, STEP)
        self._last = now
        before, self._silent = self._silent, {}
        lost = []
        for member in members:
            if member.polling is None:
                continue
            silence = before.get(member)
            if silence is None or silence.poll is not member.polling:
                silence = _Silence(member.polling, self._clock)
            self._silent[member] = silence
            if self._clock - silence.since > SILENCE and (why := self._judged(member, silence)):
                lost.append((member, why))
        return lost

    def _judged(self, member: Member, silence: _Silence) -> str:
        """Return why a silent worker is lost, empty if it is not, or if that is not known yet."""
        condition = self._inspected(member, silence)
        if condition is None:
            unheard = silence.question is not None and self._clock - silence.asked > UNREACHABLE
            return f"neither it nor its node has answered for {UNREACHABLE:g} s" * unheard
        if condition is Condition.GONE:
            return "its process is gone"
        if condition is Condition.ALIVE:
            silence.frozen = None
            return ""
        if silence.frozen is None:
            silence.frozen = self._clock
        frozen = self._clock - silence.frozen >= FROZEN
        return "its process was frozen, as by SIGSTOP, and has been ended" * frozen

    def _inspected(self, member: Member, silence: _Silence) -> Condition | None:
        """Return how a worker's process stands, None as long as its node does not say."""
        import ray

        if member.node == self._node:
            return condition_of(member.process)
        if silence.question is None:
            silence.question = _ask(member.node, member.process)
            silence.asked = self._clock
        ready, _ = ray.wait([silence.question], timeout=0)
        if not ready:
            return None
        try:
            condition: Condition = ray.get(silence.question)
        except ray.exceptions.RayError:
            return None  # the node is lost, of which Ray will tell, or else the time runs out
        silence.question = None
        return condition


def _ask(node: str, process: Process) -> Any:
    """Ask a node how one of its processes stands, without taking any of its resources."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(num_cpus=0, max_retries=0)(condition_of)
    return task.options(scheduling_strategy=there).remote(process)
