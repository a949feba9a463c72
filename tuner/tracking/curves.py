"""Packed reports of a run: one row per metric instead of one row per step.

The reports of a running trial are rows of the table `reports`, so that anyone can read them
meanwhile. Once the run has ended, its reports no longer change. They become *curves*: all values
of one metric in one row, about nine bytes each, while a row takes about thirty. Reports that
arrive late are rows again, and readers see both as one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import accumulate, groupby, pairwise
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, delete, select

from tuner.records import Report
from tuner.tracking import queries, schema, upserts

AT_ONCE = 200
"""Number of runs packed per transaction."""


def pack(steps: Sequence[int], values: Sequence[float | None]) -> tuple[bytes | None, bytes]:
    """Encode ascending steps and their values as bytes.

    Steps are None if they are 0, 1, 2, ...; otherwise the first step and the differences as 64-bit
    integers, compressed with zlib. Values are IEEE doubles. Both are little-endian.

    Examples
    --------
    >>> pack([0, 1], [0.5, None])[0] is None
    True
    >>> unpack(*pack([3, 10, 11], [0.5, 0.25, 1.0]))
    [(3, 0.5), (10, 0.25), (11, 1.0)]
    """
    plain = struct.pack(f"<{len(values)}d", *(_NAN if v is None else v for v in values))
    if list(steps) == list(range(len(steps))):
        return None, plain
    gaps = [steps[0], *(b - a for a, b in pairwise(steps))]
    return zlib.compress(struct.pack(f"<{len(gaps)}q", *gaps)), plain


def unpack(steps: bytes | None, values: bytes) -> list[tuple[int, float]]:
    """Return the steps and values that `pack` was given."""
    n = len(values) // 8
    numbers: Iterable[int] = range(n)
    if steps is not None:
        numbers = accumulate(struct.unpack(f"<{n}q", zlib.decompress(steps)))
    return list(zip(numbers, struct.unpack(f"<{n}d", values), strict=True))


_NAN = float("nan")


def without_any(connection: Connection, runs: Iterable[int]) -> set[int]:
    """Return the subset of `runs` for which no report is recorded yet."""
    wanted = sorted(runs)
    found: set[int] = set()
    for table in (schema.reports, schema.curves):
        for is_one in queries.among(connection, table.c.run_id, wanted):
            query = select(table.c.run_id).where(is_one).distinct()
            found |= set(connection.execute(query).scalars())
    return set(wanted) - found


def write(
    connection: Connection, series: Mapping[tuple[int, int], Mapping[int, float | None]]
) -> None:
    """Write values by step, for each (run, metric), as curves that replace the existing ones.

    None stands for NaN.
    """
    rows = []
    for (run, metric), curve in series.items():
        steps = sorted(curve)
        packed, values = pack(steps, [curve[step] for step in steps])
        rows.append({"run_id": run, "metric_id": metric, "steps": packed, "values": values})
    insert = upserts.replacing(connection, schema.curves)
    upserts.write_rows(connection, schema.curves, insert, rows)


def pack_metrics(connection: Connection, runs: Sequence[int]) -> int:
    """Turn the rows of finished runs into curves, and return the number of rows."""
    reports = schema.reports
    # Delete first: the deleted rows are the packed ones, even if others write at the same time.
    gone = connection.execute(
        delete(reports)
        .where(reports.c.run_id.in_(runs))
        .returning(reports.c.run_id, reports.c.metric_id, reports.c.step, reports.c.value)
    ).all()
    series: dict[tuple[int, int], dict[int, float | None]] = {
        (row.run_id, row.metric_id): {} for row in gone
    }
    curves = schema.curves
    there = select(curves).where(curves.c.run_id.in_({run for run, _ in series}))
    for row in connection.execute(there):
        key = row.run_id, row.metric_id
        if key in series:
            series[key].update(unpack(row.steps, row.values))
    for row in gone:
        series[row.run_id, row.metric_id][row.step] = row.value
    write(connection, series)
    return len(gone)


def reports_of(
    connection: Connection, study: str, trial: queries.Trials, streamed: int
) -> Iterator[tuple[str, Report]]:
    """Yield ``(run uid, report)`` by trial, attempt and step, from both rows and curves."""
    stream = connection.execution_options(yield_per=streamed)
    names = dict(connection.execute(select(schema.metrics.c.id, schema.metrics.c.name)).all())
    rows = stream.execute(queries.reports_of(study, trial))
    packed = stream.execute(queries.curves_of(study, trial))
    # At equal places the curve comes first: a value that was reported again, later, is a row.
    both = merge(_points_of_curves(packed), _points_of_rows(rows), key=itemgetter(0))
    for (*_, uid), group in groupby(both, key=itemgetter(0)):
        by_step: dict[int, dict[int, float]] = {}
        for _, metric, points in group:
            for step, value in points:
                by_step.setdefault(step, {})[metric] = value
        for step in sorted(by_step):
            metrics = by_step[step]
            yield uid, Report(step, {names[m]: metrics[m] for m in sorted(metrics)})


def _points_of_rows(rows: Iterable[Any]) -> Iterator[tuple[Any, int, list[tuple[int, float]]]]:
    for row in rows:
        value = _NAN if row.value is None else row.value
        yield (row.trial, row.attempt, row.id, row.uid), row.metric_id, [(row.step, value)]


def _points_of_curves(rows: Iterable[Any]) -> Iterator[tuple[Any, int, list[tuple[int, float]]]]:
    for row in rows:
        place = (row.trial, row.attempt, row.id, row.uid)
        yield place, row.metric_id, unpack(row.steps, row.values)
