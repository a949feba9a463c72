"""The reason of a failed run, with limits on the length of its texts."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.records.json_form import Record

MESSAGE_LIMIT = 4_000
"""Characters that a `Failure` keeps of an error's message."""

TRACEBACK_LIMIT = 32_000
"""Characters that a `Failure` keeps of a traceback, including chained exceptions."""

LABEL_LIMIT = 500
"""Characters that a `Failure` keeps of an exception's type name, and of a file and line."""

_MARKER = 64
"""Characters reserved for the statement that a text was cut."""


def capped(text: str, limit: int) -> str:
    r"""Return a text of at most `limit` characters: its head and its tail, and how much was cut.

    A subclass of `str` becomes a plain one, so that the result can be read in every process.

    Examples
    --------
    >>> capped("a" * 1000, 84)
    'aaaaaaaaaa\n[... 980 characters cut ...]\naaaaaaaaaa'
    """
    text = text if type(text) is str else str.__str__(text)
    if len(text) <= limit:
        return text
    room = limit - _MARKER
    head, tail = room // 2, room - room // 2
    return f"{text[:head]}\n[... {len(text) - room} characters cut ...]\n{text[-tail:]}"


@dataclass(frozen=True, slots=True)
class Failure(Record):
    """Reason of a failed run, or of a gap in the record of another one.

    `kind` is the exception's type name, or one of these words: ``"WrongReturnType"``,
    ``"MissingMetric"``, ``"NotFinite"``, ``"Unpicklable"``, ``"Timeout"``, ``"WorkerLost"``,
    ``"Refused"``. ``"NotSaved"`` says that something the objective logged was not saved; the
    outcome does not depend on it. `place` is the file and line that raised it, empty if unknown.

    The length of all fields is limited; see `capped`.
    """

    kind: str
    message: str
    traceback: str = ""
    place: str = ""

    def __post_init__(self) -> None:
        for name, limit in _LIMITS.items():
            text = getattr(self, name)
            if type(text) is not str or len(text) > limit:
                object.__setattr__(self, name, capped(text, limit))

    @property
    def reason(self) -> tuple[str, str]:
        """A key that is equal for two failures with the same cause."""
        # The message of these kinds quotes the value, which differs between trials.
        told = "" if self.kind in _OF_VALUES else self.message
        return (self.kind, self.place or told)

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


_OF_VALUES = ("WrongReturnType", "MissingMetric", "NotFinite")

NOT_SAVED = "NotSaved"
"""Kind of the failure beside an outcome: something that the objective logged was not saved."""

_LIMITS = {
    "kind": LABEL_LIMIT,
    "message": MESSAGE_LIMIT,
    "traceback": TRACEBACK_LIMIT,
    "place": LABEL_LIMIT,
}
