"""A store of a million trials and a hundred million metric values, and the time of queries."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import select

import tuner
from benchmarks.store import ours
from tuner.tracking import SqlStore, open_store, schema
from tuner.tracking.curves import pack

QUERIES = {
    "filtered, sorted": "value < 0.5 and params.x0 > 0.5 order by value limit 20",
    "a category": "params.c0 = 'red' and metrics.accuracy > 0.9 order by value limit 20",
    "sorted by a param": "value < 0.001 order by params.x1 desc limit 20",
}


@dataclass(frozen=True)
class Size:
    """The size of the store to create."""

    trials: int
    values: int
    studies: int = 20


def generate(store: SqlStore, size: Size) -> str:
    """Fill a store, and return the name of its largest study, with half of all trials."""
    largest = ours.new_study(store, "largest")
    others = [ours.new_study(store, f"study-{k}") for k in range(size.studies - 1)]
    half = size.trials // 2
    share = half // max(len(others), 1)
    for k, (info, n) in enumerate([(largest, half), *((info, share) for info in others)]):
        for batch in ours.batches(n, 0, seed=k):
            store.write(info.uid, batch)
    _curves(store, size.values // size.trials)
    return largest.name


def _curves(store: SqlStore, length: int) -> None:
    """Give every run one curve by direct SQL, so that a hundred million values take minutes."""
    ours_metric = schema.metrics.insert().values(name="loss")
    rng = np.random.default_rng(0)
    with store.writing() as connection:
        (metric,) = connection.execute(ours_metric).inserted_primary_key
    last = 0
    while True:
        with store.writing() as connection:
            query = select(schema.runs.c.id).where(schema.runs.c.id > last)
            ids = list(connection.execute(query.order_by(schema.runs.c.id).limit(20_000)).scalars())
            if not ids:
                return
            values = np.sort(rng.random((len(ids), length)))[:, ::-1]
            rows = []
            for run, curve in zip(ids, values, strict=True):
                steps, packed = pack(range(length), curve.tolist())
                rows.append({"run_id": run, "metric_id": metric, "steps": steps, "values": packed})
            connection.execute(schema.curves.insert(), rows)
            last = ids[-1]


def measure(url: str | Path, size: Size) -> dict[str, float]:
    """Create the store; return the milliseconds of each query and the driver's memory in MB."""
    store = open_store(url)
    began = time.perf_counter()
    name = generate(store, size)
    figures = {"generated_s": time.perf_counter() - began}
    figures["gigabytes"] = _bytes(store) / 1e9
    study = tuner.load_study(name, store=url)
    figures["best_trial_ms"] = _milliseconds(lambda: study.best_trial)
    for what, query in QUERIES.items():
        figures[f"{what}_ms"] = _milliseconds(
            lambda query=query: list(tuner.find(query, store=url))
        )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in study:
        pass
    figures["streaming_added_mb"] = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    ) / 1024
    return figures


def _bytes(store: SqlStore) -> int:
    """Return the size of the database."""
    with store.reading() as connection:
        if connection.dialect.name == "postgresql":
            size = "SELECT pg_database_size(current_database())"
        else:
            size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        return int(connection.exec_driver_sql(size).scalar_one())


def _milliseconds(call) -> float:
    call()
    began = time.perf_counter()
    for _ in range(5):
        call()
    return 200.0 * (time.perf_counter() - began)
