"""Everything that an objective records besides its return value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tuner.records import Failure, decode_params
from tuner.tracking.annotation_values import check_note_names, stored


@dataclass(slots=True)
class SideResults:
    """The results that one run of an objective has logged so far.

    Attributes
    ----------
    logged
        Final values of metrics logged without a step.
    reported
        The last reported values.
    constraints
        The reported values of outcome constraints.
    notes
        Notes on the trial: small JSON values by name.
    unsaved
        Failures to save something; they leave the outcome as it is.
    """

    logged: dict[str, float] = field(default_factory=dict)
    reported: dict[str, float] = field(default_factory=dict)
    constraints: dict[str, float] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    unsaved: list[Failure] = field(default_factory=list)

    @property
    def metrics(self) -> dict[str, float]:
        """The last reported values and the logged ones."""
        return {**self.reported, **self.logged}

    @property
    def failure(self) -> Failure | None:
        """One failure that names everything that was not saved, or None."""
        return joined(self.unsaved)

    def set_notes(self, notes: Mapping[str, Any]) -> None:
        """Set notes, and remove those that are None.

        Raises
        ------
        ArgumentError
            If a name is not a string or is too long, a value is not a JSON value, or all notes
            together are too large.
        """
        check_note_names(notes)
        encoded = stored({**self.notes, **notes}, "notes")
        # A copy, which the objective cannot change any more.
        together = decode_params(encoded)
        self.notes = {name: value for name, value in together.items() if value is not None}

    def copy(self) -> SideResults:
        """Return a copy with its own notes and failures."""
        return replace(self, notes=dict(self.notes), unsaved=list(self.unsaved))


def joined(failures: list[Failure]) -> Failure | None:
    """Return one failure with the messages of several, each of them once; None without any."""
    if not failures:
        return None
    messages = dict.fromkeys(failure.message for failure in failures)
    return replace(failures[0], message="; ".join(messages))
