"""The estimate of the true value of a trial that was registered."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.records.json_form import Record
from tuner.records.numbers import distinct_texts, number_text

STANDARD_ERROR = ".se"
"""End of the name of the metric with the standard error of a value; see `LiveTrial.folds`."""


@dataclass(frozen=True, slots=True, eq=False)
class ValueEstimate(Record):
    """The estimate of the true value of a trial, as it was known at its registration.

    Two estimates are equal if all fields are; NaN equals NaN.

    Attributes
    ----------
    value : float
        The expected true value, in the units of the goal.
    low, high : float
        Bounds of the 95 % interval of the true value; NaN if the noise is unknown.
    runs : int
        Number of values that were observed of the trial, repeats included.
    noise : float or None
        Standard deviation of a value; 0 if no noise was found, None if it is unknown.
    source : str
        Source of the noise: ``"model"``, ``"repeats"``, ``"folds"``, ``"given"``, or ``""`` if
        it is unknown.
    confidence : float
        Probability that the trial is the best of the leading trials; NaN if the noise is unknown.
    optimism : float
        How much better the best observed value looks than a new run of its trial is expected to be.
    leaders : int
        Number of leading trials.
    repeats : int
        Number of repeats of the study.
    chosen : str
        ``"winner"``, or ``"user"`` if the user chose another trial.

    Examples
    --------
    >>> found = ValueEstimate(0.91, 0.9, 0.92, 3, 0.01, "repeats", 0.8, 0.02, 10, 12, "winner")
    >>> found.in_words()
    '0.91 (95 % interval 0.9 to 0.92, 3 runs; best of the leading 10 with probability 0.8)'
    """

    value: float
    low: float
    high: float
    runs: int
    noise: float | None
    source: str
    confidence: float
    optimism: float
    leaders: int
    repeats: int
    chosen: str

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ValueEstimate):
            return NotImplemented
        return self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.value, self.runs, self.source, self.repeats, self.chosen))

    def __str__(self) -> str:
        return self.in_words()

    def in_words(self) -> str:
        """Return the estimate and its interval as one line."""
        texts = distinct_texts([self.value, self.low, self.high])
        if self.noise is None:
            return f"{texts[0]} (noise unknown)"
        if self.noise == 0.0:
            return f"{texts[0]} (no noise found)"
        runs = "1 run" if self.runs == 1 else f"{self.runs} runs"
        return (
            f"{texts[0]} (95 % interval {texts[1]} to {texts[2]}, {runs}; best of the leading "
            f"{self.leaders} with probability {number_text(self.confidence, 2)})"
        )

    def lines(self) -> list[str]:
        """Return the estimate, the choice, the noise and the optimism, one line each."""
        lines = [f"estimate: {self.in_words()}"]
        by = "winner of the study" if self.chosen == "winner" else "chosen by the user"
        again = f", after {self.repeats} repeats" if self.repeats else ""
        lines.append(f"choice: {by}{again}")
        if self.noise:
            lines.append(f"noise: {number_text(self.noise, 3)} per run, source {self.source}")
            lines.append(f"optimism of the best observed value: {number_text(self.optimism, 3)}")
        return lines
