"""Profiles: the distribution of each column of a table, and a bounded sample of its rows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError
from tuner.profiles.tables import KINDS, as_frame, typed

if TYPE_CHECKING:
    import numpy as np

ROLES = ("feature", "target", "prediction")

PREDICTION = "prediction"
"""Name of the column of predictions."""

TARGET = "target"
"""Name of the labels if they have no name of their own."""

N_QUANTILES = 101
"""Number of stored quantiles, from the minimum to the maximum."""

SORTED = 100_000
"""Largest number of values that are sorted for the quantiles; of more, as many are drawn."""

MOST_CATEGORIES = 1000
"""Number of categories that are counted by name; the rest is ``other``."""

SAMPLE_ROWS = 5000
"""Largest number of sampled rows."""

MOST_CELLS = 500_000
"""Largest number of sampled values; wide tables have fewer sampled rows, but at least 100."""

FORMAT = "tuner-profile-1"

_NUMBERS = ("number", "datetime")


@dataclass(frozen=True, slots=True)
class Column:
    """The distribution of one column.

    Attributes
    ----------
    name : str
        The name.
    kind : str
        ``number``, ``category``, ``boolean``, ``datetime`` (in seconds since 1970), ``text``
        (nearly unique, ignored) or ``empty`` (every value is missing).
    role : str
        ``feature``, ``target`` or ``prediction``.
    rows : int
        Number of rows.
    missing : int
        Number of missing values.
    infinite : int
        Number of infinite numbers.
    quantiles : tuple of float
        101 equidistant quantiles of the values, infinities included; empty for other kinds. Those
        of more than 100,000 values are the quantiles of 100,000 random ones, and the extremes.
    counts : dict
        Number of rows of each of the 1,000 most frequent categories.
    other : int
        Number of rows of all further categories.
    """

    name: str
    kind: str
    role: str
    rows: int
    missing: int
    infinite: int = 0
    quantiles: tuple[float, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    other: int = 0

    @property
    def present(self) -> int:
        """Number of values that are not missing."""
        return self.rows - self.missing


@dataclass(frozen=True, slots=True)
class Quality:
    """The mean of a metric of predictions over rows with labels.

    Attributes
    ----------
    metric : str
        ``accuracy``, or ``absolute error`` if labels and predictions are numbers.
    rows : int
        Number of rows with a label and a prediction.
    mean, deviation : float
        Mean and standard deviation over these rows.
    """

    metric: str
    rows: int
    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Profile:
    """A table in a bounded form: a distribution for each column, and a random sample of rows.

    Attributes
    ----------
    rows : int
        Number of rows of the table.
    columns : dict
        Each `Column` by its name.
    sample : dict
        Values of the sampled rows, by column: float64 with NaN for numbers and datetimes, text or
        None for other kinds. Nearly unique text is not sampled; its values are None.
    quality : Quality or None
        The metric of the predictions, if predictions and labels were given.
    array : bool
        Whether the table was an array without names.

    Examples
    --------
    >>> profile = Profile.of({"age": [31, 45, None], "town": ["Rome", "Rome", "Oslo"]})
    >>> profile.columns["age"].missing, profile.columns["town"].counts
    (1, {'Rome': 2, 'Oslo': 1})
    >>> Profile.from_json(profile.to_json()).columns == profile.columns
    True
    """

    rows: int
    columns: dict[str, Column]
    sample: dict[str, np.ndarray[Any, Any]]
    quality: Quality | None = None
    array: bool = False

    @classmethod
    def of(
        cls,
        data: Any,
        *,
        target: str | None = None,
        predictions: Any = None,
        ignore: Sequence[str] = (),
        sample_rows: int = SAMPLE_ROWS,
        seed: int = 0,
        array: bool = False,
    ) -> Profile:
        """Return the profile of a table.

        Parameters
        ----------
        data
            A DataFrame, a dict of columns, a two-dimensional array, or the path of a ``.csv`` or
            ``.parquet`` file.
        target
            Name of the column of labels, if the table has one.
        predictions
            The model's predictions, one for each row.
        ignore
            Names of columns that are left out, such as a row number.
        sample_rows
            Maximum number of sampled rows, at least 100. A table with more than 100 columns has
            fewer, so that the sample has at most 500,000 values.
        seed
            Seed of the sample.
        array
            Whether the table comes from an array, which `data` need not be any more.

        Raises
        ------
        ArgumentError
            If the data is not a table with rows and columns, or a named column does not exist.
        """
        import numpy as np

        frame = as_frame(data)
        if sample_rows < 100:
            raise ArgumentError(f"drift: sample_rows={sample_rows} must be at least 100")
        for name in [*ignore, *([] if target is None else [target])]:
            if name not in frame.columns:
                raise ArgumentError(
                    f"drift: the table has no column {name!r}; it has "
                    f"{', '.join(map(str, frame.columns[:20]))}"
                )
        frame = frame.drop(columns=list(ignore))
        if frame.empty:
            raise ArgumentError("drift: every column is ignored; name fewer columns in ignore=")
        rows = len(frame)
        series = {str(name): (frame[name], "feature") for name in frame.columns}
        if target is not None and target in series:
            series[target] = (series[target][0], "target")
        if predictions is not None:
            series[PREDICTION] = (_predictions(predictions, rows, list(series)), PREDICTION)
        chosen = sampled_rows(rows, len(series), sample_rows, seed)
        columns, sample, kept = {}, {}, {}
        for name, (values, role) in series.items():
            kind, cells = typed(values)
            columns[name] = _describe(name, kind, role, cells)
            sample[name] = _sampled(kind, cells[chosen])
            if role != "feature":
                kept[role] = (kind, cells)
        quality = _quality(*kept["target"], *kept[PREDICTION]) if len(kept) == 2 else None
        return cls(rows, columns, sample, quality, array=array or isinstance(data, np.ndarray))

    @property
    def features(self) -> list[str]:
        """Names of the columns that are neither labels nor predictions, in their order."""
        return [name for name, column in self.columns.items() if column.role == "feature"]

    @property
    def target(self) -> str | None:
        """Name of the column of labels, None if there is none."""
        return next((n for n, c in self.columns.items() if c.role == "target"), None)

    def with_predictions(self, predictions: Any) -> Profile:
        """Return the profile with predictions for the sampled rows; see `sampled_rows`.

        Raises
        ------
        ArgumentError
            If there is not one prediction for each sampled row.

        Examples
        --------
        >>> profile = Profile.of({"x": [1, 2, 3], "y": [0, 1, 1]}, target="y")
        >>> profile.with_predictions([0, 1, 0]).quality.mean.__round__(3)
        0.667
        """
        rows = len(next(iter(self.sample.values())))
        kind, values = typed(_predictions(predictions, rows, list(self.columns)))
        column = _describe(PREDICTION, kind, PREDICTION, values)
        quality, target = None, self.target
        if target is not None:
            quality = _quality(self.columns[target].kind, self.sample[target], kind, values)
        return dataclasses.replace(
            self,
            columns=self.columns | {PREDICTION: column},
            sample=self.sample | {PREDICTION: _sampled(kind, values)},
            quality=quality,
        )

    def to_json(self) -> str:
        """Return the profile as strict JSON; `from_json` restores it exactly."""
        document = {
            "format": FORMAT,
            "rows": self.rows,
            "columns": [
                asdict(column) | {"quantiles": [_as_json(q) for q in column.quantiles]}
                for column in self.columns.values()
            ],
            "sample": {name: [_as_json(v) for v in values] for name, values in self.sample.items()},
            "quality": None if self.quality is None else asdict(self.quality),
            "array": self.array,
        }
        return json.dumps(document, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Profile:
        """Return the profile that `to_json` wrote.

        Raises
        ------
        ArgumentError
            If the text is not a profile.
        """
        try:
            document = json.loads(text)
            if document["format"] != FORMAT:
                raise ArgumentError(
                    f"drift: the profile has format {document['format']!r}, not {FORMAT!r}; make "
                    f"it again with this version of tuner"
                )
            columns = {}
            for entry in document["columns"]:
                quantiles = tuple(float(q) for q in entry["quantiles"])
                column = Column(**entry | {"quantiles": quantiles})
                if column.kind not in KINDS or column.role not in ROLES:
                    raise ValueError(f"column {column.name!r} has kind {column.kind!r}")
                columns[column.name] = column
            sample = {name: _array(columns[name], document["sample"][name]) for name in columns}
            if len({len(values) for values in sample.values()}) > 1:
                raise ValueError("the sampled columns have different lengths")
            quality = document["quality"]
            return cls(
                int(document["rows"]),
                columns,
                sample,
                None if quality is None else Quality(**quality),
                bool(document.get("array", False)),
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, ArgumentError):
                raise
            raise ArgumentError(
                f"drift: the text is not a profile ({type(error).__name__}: {error}); make one "
                f"with Profile.of(data).to_json()"
            ) from None

    @classmethod
    def load(cls, path: str | Path) -> Profile:
        """Return the profile of a file that `to_json` was written to.

        Raises
        ------
        ArgumentError
            If the file cannot be read or is not a profile.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArgumentError(f"drift: profile {str(path)!r} cannot be read: {error}") from None
        return cls.from_json(text)


def sampled_rows(
    rows: int, columns: int, sample_rows: int = SAMPLE_ROWS, seed: int = 0
) -> np.ndarray[Any, Any]:
    """Return the numbers of the sampled rows of a table, ascending."""
    import numpy as np

    most = min(rows, sample_rows, max(100, MOST_CELLS // columns))
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _sampled(kind: str, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the sampled values of a column; text that identifies rows is left out."""
    import numpy as np

    return np.full(len(values), None, dtype=object) if kind == "text" else values


def _describe(name: str, kind: str, role: str, values: np.ndarray[Any, Any]) -> Column:
    import numpy as np
    import pandas as pd

    if kind in _NUMBERS:
        given = values[~np.isnan(values)]
        return Column(
            name,
            kind,
            role,
            rows=len(values),
            missing=len(values) - len(given),
            infinite=int(np.isinf(given).sum()),
            quantiles=_quantiles(given) if len(given) else (),
        )
    missing = int(pd.isna(values).sum())
    if kind not in ("category", "boolean"):
        return Column(name, kind, role, rows=len(values), missing=missing)
    counts = pd.Series(values).value_counts()
    counts = counts.sort_index().sort_values(ascending=False, kind="stable")
    kept = {str(k): int(n) for k, n in counts.iloc[:MOST_CATEGORIES].items()}
    other = int(counts.iloc[MOST_CATEGORIES:].sum())
    return Column(name, kind, role, len(values), missing, counts=kept, other=other)


def _quantiles(values: np.ndarray[Any, Any]) -> tuple[float, ...]:
    """Return the quantiles of a sample of the values, with the minimum and maximum of all."""
    import numpy as np

    ordered = values
    if len(values) > SORTED:
        ordered = values[np.random.default_rng(0).integers(len(values), size=SORTED)]
        ordered[:2] = values.min(), values.max()
    ordered = np.sort(ordered)
    places = np.linspace(0, len(ordered) - 1, N_QUANTILES).round().astype(int)
    return tuple(ordered[places].tolist())


def _predictions(predictions: Any, rows: int, names: Sequence[str]) -> Any:
    import numpy as np
    import pandas as pd

    if PREDICTION in names:
        raise ArgumentError(
            f"drift: the table has a column {PREDICTION!r} already; rename it, or leave out "
            f"predictions="
        )
    values = np.asarray(predictions)
    if values.ndim != 1 or len(values) != rows:
        raise ArgumentError(
            f"drift: predictions have shape {values.shape}; pass one for each of the {rows} rows"
        )
    return pd.Series(values)


def _quality(
    kind: str, labels: np.ndarray[Any, Any], other: str, predictions: np.ndarray[Any, Any]
) -> Quality | None:
    """Return the metric of predictions over the rows that have both, or None if there are few."""
    import numpy as np
    import pandas as pd

    both = ~(pd.isna(labels) | pd.isna(predictions))
    numbers = kind == other == "number"
    if numbers:
        both &= np.isfinite(np.where(both, labels, 0.0).astype(float))
        both &= np.isfinite(np.where(both, predictions, 0.0).astype(float))
    if both.sum() < 2:
        return None
    if numbers:
        values = np.abs(labels[both] - predictions[both])
        whole = np.unique(np.concatenate([labels[both], predictions[both]]))
        if len(whole) <= 20 and (whole == whole.round()).all():  # classes coded as numbers
            numbers, values = False, labels[both] == predictions[both]
    else:
        values = labels[both] == predictions[both]
    values = np.asarray(values, dtype=float)
    return Quality(
        "absolute error" if numbers else "accuracy",
        len(values),
        float(values.mean()),
        float(values.std(ddof=1)),
    )


def _as_json(value: Any) -> Any:
    """Return a value as JSON: None for NaN, and text for an infinity."""
    if value is None or isinstance(value, str):
        return value
    number = float(value)
    if number != number:
        return None
    return str(number) if number in (float("inf"), float("-inf")) else number


def _array(column: Column, values: Sequence[Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    if column.kind in _NUMBERS:
        return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)
    array = np.full(len(values), None, dtype=object)
    array[:] = [None if v is None else str(v) for v in values]
    return array
