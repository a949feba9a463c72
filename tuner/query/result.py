"""Run queries on a store and return their matches as records, rows or a DataFrame."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Connection, Row, Select, func, select

from tuner.errors.boundary import public
from tuner.errors.notices import warn
from tuner.query.compiler import Compiler
from tuner.query.fields import subject, visible
from tuner.query.matches import FoundRun, FoundTrial, Match, flat_rows
from tuner.query.names import Unknown, unknown_names
from tuner.query.pages import has_pages, page
from tuner.query.parser import parse
from tuner.query.syntax import Query
from tuner.query.values import dialect_of
from tuner.records import Trial, decode_params
from tuner.registry import Registry
from tuner.tracking import open_store, rows, schema

if TYPE_CHECKING:
    import pandas as pd

    from tuner.tracking.store import Store

STREAMED = 500
"""Number of rows fetched at a time."""


@public()
def find(query: str = "", *, what: str = "trials", store: str | Path | None = None) -> QueryResult:
    """Search a store; iterate over the result, or convert it to a DataFrame.

    Parameters
    ----------
    query
        Such as ``"metrics.accuracy > 0.95 and params.model == 'svm' order by value limit 20"``;
        an empty query matches everything.
    what
        ``"trials"`` gives pairs of a study's name and a `Trial`, ``"runs"`` pairs with a `Run`,
        ``"studies"`` each `StudyInfo` and ``"models"`` each `ModelVersion`.
    store
        As for `optimize`.

    Raises
    ------
    QueryError
        If the query cannot be parsed or names an unknown field; the message marks the position.

    Examples
    --------
    >>> import tempfile, tuner
    >>> folder = tempfile.mkdtemp()
    >>> study = tuner.create_study({"x": tuner.Int(1, 9)}, study="s", store=folder, seed=0)
    >>> for _ in range(9):
    ...     trial = study.ask()
    ...     told = study.tell(trial, trial.params["x"])
    >>> query = "params.x in (2, 3) or value > 8 order by value desc"
    >>> [(name, trial.params["x"]) for name, trial in tuner.find(query, store=folder)]
    [('s', 9), ('s', 3), ('s', 2)]
    """
    return search(open_store(store), query, what=what)


def search(
    store: Store, query: str | Query = "", *, what: str = "trials", study: str | None = None
) -> QueryResult:
    """Search a store.

    Parameters
    ----------
    store
        The store to search.
    query
        See ``docs/find.md``; an empty query matches everything.
    what
        ``"trials"``, ``"runs"``, ``"studies"`` or ``"models"``.
    study
        The uid of the only study to search; None searches all studies.

    Raises
    ------
    QueryError
        If the query cannot be parsed or names an unknown field.
    ArgumentError
        If `what` is not one of these four.
    """
    text = query if isinstance(query, str) else str(query)
    found = QueryResult(store, parse(text), what, text, study)
    found.statement("sqlite")  # raises errors now, not when the result is first read
    return found


@dataclass(frozen=True, repr=False)
class QueryResult:
    """The matches of a query; each iteration reads them from the store, row by row.

    A notebook shows the first ones as a table.

    Examples
    --------
    >>> import tempfile, tuner
    >>> study = tuner.optimize(
    ...     lambda params: params["x"] ** 2, {"x": tuner.Float(-1, 1)}, n_trials=8, seed=0,
    ...     backend="serial", store=tempfile.mkdtemp(), progress=False,
    ... )
    >>> found = study.find("value < 0.5 order by value limit 3")
    >>> [trial.value < 0.5 for trial in found]
    [True, True, True]
    >>> found.dataframe().columns.tolist()[:5]
    ['study', 'number', 'state', 'value', 'duration']
    """

    store: Store
    query: Query
    what: str
    text: str
    study: str | None = None

    def statement(self, dialect: str) -> Select[Any]:
        """Return the SQL of the query for ``"sqlite"`` or ``"postgresql"``."""
        statement = self._compiler(dialect).select(self.query)
        if self.study is None:
            return statement if self.what == "models" else statement.where(*visible(self.query))
        # With the integer key, one index serves both the filter and the order.
        row = select(schema.studies.c.id).where(schema.studies.c.uid == self.study)
        column = {"trials": schema.trials.c.study_id, "runs": schema.runs.c.study_id}.get(
            self.what, schema.studies.c.id
        )
        return statement.where(column == row.scalar_subquery())

    def __iter__(self) -> Iterator[Any]:
        """Yield the matches; a search within one study yields trials and runs without its name."""
        for match in self.matches():
            if self.study is not None and isinstance(match, FoundTrial | FoundRun):
                yield match[1]
            else:
                yield match

    def matches(self) -> Iterator[Match]:
        """Yield the matches; trials and runs come with the name of their study."""
        with self.store.reading() as connection:
            self._say_unknown(connection)
            read = _READERS[self.what](self.store, connection)
            for row in self._rows(connection):
                yield read(row)

    def _rows(self, connection: Connection) -> Iterable[Row[Any]]:
        dialect = connection.dialect.name
        if self.what == "trials" and has_pages(self.query):
            rows = page(connection, self._compiler(dialect), self.query, self.study)
            if rows is not None:
                return rows
        streaming = connection.execution_options(yield_per=STREAMED)
        return streaming.execute(self.statement(dialect))

    def _compiler(self, dialect: str) -> Compiler:
        written = dialect_of(dialect)
        return Compiler(self.text, subject(self.what, written), written, time.time())

    def first(self) -> Any:
        """Return the first match, or None."""
        one = replace(self, query=replace(self.query, limit=min(1, _limit(self.query))))
        return next(iter(one), None)

    def count(self) -> int:
        """Return the number of matches."""
        with self.store.reading() as connection:
            self._say_unknown(connection)
            inner = self.statement(connection.dialect.name).order_by(None).subquery()
            return int(connection.execute(select(func.count()).select_from(inner)).scalar_one())

    def check_names(self) -> None:
        """Check that some record has each name of the query, other than tags and notes.

        Reading the matches only warns, because a metric may not have been recorded yet.

        Raises
        ------
        QueryError
            If no record has a name; the message suggests similar names.
        """
        with self.store.reading() as connection:
            for unknown in self._unknown(connection):
                if unknown.certain:
                    raise unknown.error

    def _say_unknown(self, connection: Connection) -> None:
        for unknown in self._unknown(connection):
            warn(str(unknown.error))

    def _unknown(self, connection: Connection) -> list[Unknown]:
        compiler = self._compiler(connection.dialect.name)
        return unknown_names(connection, compiler, self.query, self.study)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one flat dict per match; all have the same keys, with None for missing values."""
        return flat_rows(self.store, self.matches())

    def dataframe(self) -> pd.DataFrame:
        """Return `to_rows` as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.to_rows())

    def __repr__(self) -> str:
        return f"<QueryResult: {self.what} of {str(self.store)!r} by {self.text!r}>"

    def _repr_html_(self) -> str:
        from tuner.records.html import ROWS, block, table

        limit = self.query.limit
        most = ROWS if limit is None else min(ROWS, limit)
        shown = replace(self, query=replace(self.query, limit=most)).to_rows()
        count = len(shown) if len(shown) < most else self.count()
        title = f"{count} {self.what if count != 1 else self.what.removesuffix('s')}"
        first = f"the first {len(shown)}: " if len(shown) < count else ""
        return block(title, table(shown) if shown else "", note=f"{first}{self.text}")


def _limit(query: Query) -> int:
    return 1 if query.limit is None else query.limit


_Read: TypeAlias = Callable[[Row[Any]], Match]


def _trial_reader(_: Store, connection: Connection) -> _Read:
    columns = len(schema.trials.c)
    readers: dict[int, Callable[[Any], Trial]] = {}

    def read(row: Row[Any]) -> FoundTrial:
        if row.study_id not in readers:
            space = select(schema.studies.c.space).where(schema.studies.c.id == row.study_id)
            stored: Mapping[str, Any] = connection.execute(space).scalar_one()
            readers[row.study_id] = rows.trial_reader(rows.ParamsCodec(decode_params(stored)))
        # The columns of a trial come first; its reader accepts only those.
        return FoundTrial(row.study, readers[row.study_id](row[:columns]))

    return read


def _run_reader(_: Store, __: Connection) -> _Read:
    return lambda row: FoundRun(row.study, rows.run_of(row))


def _study_reader(_: Store, __: Connection) -> _Read:
    return rows.study_of


def _model_reader(store: Store, _: Connection) -> _Read:
    registry = Registry(store)
    return lambda row: registry.get(f"{row.name}@{row.version}")


_READERS: dict[str, Callable[[Store, Connection], _Read]] = {
    "trials": _trial_reader,
    "runs": _run_reader,
    "studies": _study_reader,
    "models": _model_reader,
}
