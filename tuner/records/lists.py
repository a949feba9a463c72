"""`RecordList`: a list of records that a notebook shows as a table."""

from __future__ import annotations

from typing import SupportsIndex, TypeVar, overload

from tuner.records.json_form import Record

R = TypeVar("R", bound=Record)


class RecordList(list[R]):
    """A list of records of one type; a notebook shows it, and its slices, as a table.

    Examples
    --------
    >>> from tuner.records import Trial
    >>> trials = RecordList([Trial(0, {"x": 1}), Trial(1, {"x": 2})])
    >>> trials == [Trial(0, {"x": 1}), Trial(1, {"x": 2})]
    True
    >>> "params.x" in trials[:1]._repr_html_()
    True
    """

    @overload
    def __getitem__(self, place: SupportsIndex) -> R: ...

    @overload
    def __getitem__(self, place: slice) -> RecordList[R]: ...

    def __getitem__(self, place: SupportsIndex | slice) -> R | RecordList[R]:
        found = super().__getitem__(place)
        return RecordList(found) if isinstance(found, list) else found

    def _repr_html_(self) -> str:
        from tuner.records.html import records_html

        return records_html(f"{type(self[0]).__name__}s" if self else "Records", self)
