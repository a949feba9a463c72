"""Rules that end a search before it has all its trials.

A rule is a callback, ``tuner.optimize(..., callbacks=[tuner.stop.when_reached(0.1)])``. It decides
by the record alone. A study whose record meets a rule therefore starts no trial when the same call
is repeated. Running trials finish. The progress display shows the reason at the end, and the study
keeps it in its note ``stop.reason``.

>>> import tempfile, tuner
>>> study = tuner.optimize(
...     lambda params: params["x"] ** 2, {"x": tuner.Float(-1, 1)}, n_trials=100, seed=0,
...     callbacks=[tuner.stop.when_reached(0.2)],
...     backend="serial", store=tempfile.mkdtemp(), progress=False,
... )
>>> len(study.trials) < 100, study.best_value <= 0.2
(True, True)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from tuner.errors import ArgumentError
from tuner.optimizers import ranking
from tuner.records import Goal, State, Trial
from tuner.records.numbers import number_text
from tuner.study.arguments import as_count, as_number

if TYPE_CHECKING:
    from tuner.study import Study

__all__ = ["StopRule", "after_no_improvement", "when_reached", "when_unlikely_to_improve"]

NOTE = "stop.reason"
"""Note of a study that has the reason of its last stop."""


class StopRule(ABC):
    """A callback that ends a search once its rule holds for the record of the study."""

    def __call__(self, study: Study, trial: Trial) -> None:
        """End the search of `study` if the rule holds after `trial`."""
        if trial.state is State.FAILED:
            return
        reason = self.reason_to_stop(study) if self.is_due(study, trial) else None
        if reason is not None:
            study.set_study_note(NOTE, reason)
            study.stop(reason)

    def is_due(self, study: Study, trial: Trial) -> bool:  # noqa: ARG002
        """Whether the rule is to be checked after `trial`, which reads the whole record."""
        return True

    def study_ended(self, study: Study) -> None:
        """Forget what was followed of a search; the next one reads the record again."""
        _followed.pop(study, None)

    def check_goals(self, goals: Sequence[Goal]) -> None:
        """Check that the rule fits a search, before it starts.

        Raises
        ------
        ArgumentError
            If the search has several goals.
        """
        if len(goals) > 1:
            raise ArgumentError(
                f"callbacks={[self]!r}: a search with {len(goals)} goals has no single best value "
                f"to stop by; leave the rule out, or write a callback that calls study.stop()"
            )

    @abstractmethod
    def reason_to_stop(self, study: Study) -> str | None:
        """Return why the search ends, None if it goes on."""


_followed: WeakKeyDictionary[Study, dict[int, Trial]] = WeakKeyDictionary()


def followed(study: Study, trial: Trial) -> list[Trial]:
    """Return the trials of a running search after `trial`, by number.

    The record is read once in a search. Reading it after every trial would take ever longer.
    """
    known = _followed.get(study)
    if known is None:
        known = _followed[study] = {t.number: t for t in study}
    known[trial.number] = trial
    return [known[number] for number in sorted(known)]


def when_reached(value: float) -> StopRule:
    """Return a rule that ends a search once its best value is `value` or better.

    Raises
    ------
    ArgumentError
        If `value` is not a number.
    """
    return _Reached(as_number("value", value))


def after_no_improvement(n_trials: int, tolerance: float = 0.0) -> StopRule:
    """Return a rule that ends a search after `n_trials` trials without a better best value.

    Failed trials do not count.

    Parameters
    ----------
    n_trials
        Number of trials in a row, at least 1.
    tolerance
        The improvement that does not matter, in the units of the goal.

    Raises
    ------
    ArgumentError
        If an argument is invalid.
    """
    return _NoImprovement(_count("n_trials", n_trials), as_number("tolerance", tolerance, low=0.0))


def when_unlikely_to_improve(
    n_trials: int = 20,
    tolerance: float = 0.0,
    probability: float = 0.1,
    min_trials: int = 20,
) -> StopRule:
    """Return a rule that ends a search once further trials are unlikely to improve the winner.

    The rule makes a forecast after every tenth of the trials, and at least five; see
    `Study.forecast`. Values that are all equal tell nothing, so such a search goes on.

    Parameters
    ----------
    n_trials
        Number of further trials, at least 1.
    tolerance
        The gain of the winner's true value that does not matter, in the units of the goal.
    probability
        The search ends if the probability of a gain above `tolerance` is below this, between 0
        and 1.
    min_trials
        Number of completed trials before the rule may end the search, at least 3.

    Raises
    ------
    ArgumentError
        If an argument is invalid.
    """
    chance = as_number("probability", probability, low=0.0, below=1.0)
    if chance == 0.0:
        raise ArgumentError("probability=0: the rule would never hold; write 0.05, for example")
    return _Unlikely(
        _count("n_trials", n_trials),
        as_number("tolerance", tolerance, low=0.0),
        chance,
        _count("min_trials", min_trials, low=3),
    )


@dataclass(frozen=True)
class _Reached(StopRule):
    value: float

    def is_due(self, study: Study, trial: Trial) -> bool:
        return self._holds(study, [trial])

    def reason_to_stop(self, study: Study) -> str | None:
        if not self._holds(study, study):
            return None
        return f"the best value reached {number_text(self.value)}"

    def _holds(self, study: Study, trials: Iterable[Trial]) -> bool:
        best = ranking.best(study.goals[0], trials)
        sign = study.direction.sign
        return best is not None and sign * best.values[0] <= sign * self.value


@dataclass(frozen=True)
class _NoImprovement(StopRule):
    n_trials: int
    tolerance: float

    def is_due(self, study: Study, trial: Trial) -> bool:
        return self._holds(study, followed(study, trial))

    def reason_to_stop(self, study: Study) -> str | None:
        return f"no improvement in {self.n_trials} trials" if self._holds(study, study) else None

    def _holds(self, study: Study, trials: Iterable[Trial]) -> bool:
        counted = [t for t in trials if t.state in (State.COMPLETED, State.STOPPED)]
        earlier, later = counted[: -self.n_trials], counted[-self.n_trials :]
        before, after = (ranking.best(study.goals[0], part) for part in (earlier, later))
        if before is None or after is None:
            return before is not None
        sign = study.direction.sign
        return sign * (before.values[0] - after.values[0]) <= self.tolerance


@dataclass(frozen=True)
class _Unlikely(StopRule):
    n_trials: int
    tolerance: float
    probability: float
    min_trials: int

    def is_due(self, study: Study, trial: Trial) -> bool:
        completed = sum(t.state is State.COMPLETED for t in followed(study, trial))
        return completed % max(5, completed // 10) == 0

    def reason_to_stop(self, study: Study) -> str | None:
        eligible = sum(t.eligible for t in study)
        if eligible < self.min_trials:
            return None
        found = study.forecast(self.n_trials, self.tolerance)
        if not found.known or found.probability >= self.probability:
            return None
        return (
            f"{self.n_trials} more trials improve the winner by more than "
            f"{number_text(self.tolerance)} with probability {number_text(found.probability, 2)}"
        )


def _count(name: str, value: int, low: int = 1) -> int:
    count = as_count(name, value, low=low)
    if count is None:
        raise ArgumentError(f"{name}=None: write an integer of at least {low}")
    return count
