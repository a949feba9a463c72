"""Compare speed and size of our store with Optuna's and MLflow's, in one run.

    python -m benchmarks.store [--quick] [--parts trials,writers] [--without mlflow]
    python -m benchmarks.store --parts writers --writers-for 600
    python -m benchmarks.store --parts million

Parts: `trials` recorded per second (ten parameters, one value; and with ten reports), on SQLite and
on a real PostgreSQL; step `metrics` per second, next to bare databases; `size`, the bytes of a
metric value; `load`, a whole study; `writers`, 16 processes writing at once; `ask-tell`,
1, 4, 16 and 32 processes that ask and tell on one study; and, only on request, `million`, which
creates and queries a store of a million trials and a hundred million values. Contestants take
turns, and ratios compare medians of one run. MLflow runs in a separate environment below
``.build``. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.postgres import running_server
from benchmarks.quality.environment import interpreter
from benchmarks.store import ask_tell, bare, million, optuna_peer, ours, writers

DATABASES = ("sqlite", "postgres")
PEERS = ("optuna", "mlflow")
MLFLOW = Path(__file__).with_name("mlflow_peer.py")


class Measures:
    """Runs contestants in turns, prints results, and keeps the medians."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self.figures: dict[str, float] = {}

    def rates(self, title: str, contestants: dict[str, Callable[[], float]]) -> None:
        """Print the rate of each contestant, and keep it as ``title/name``."""
        print(f"\n{title}")
        rates: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(self._rounds):
            for name, run in contestants.items():
                rates[name].append(run())
        for name, taken in rates.items():
            self.figures[f"{title}/{name}"] = median(taken)
            ratio = median(rates["tuner"]) / median(taken)
            print(f"  {name:24s}{median(taken):14,.1f}   tuner / it: {ratio:8.1f}")

    def ratio(self, title: str, peer: str) -> float:
        """Return the ratio of our figure to the peer's."""
        return self.figures[f"{title}/tuner"] / self.figures[f"{title}/{peer}"]


class Run:
    """The options and the folder of one benchmark run."""

    def __init__(
        self, given: argparse.Namespace, folder: Path, new_database: Callable[[], str]
    ) -> None:
        self.given = given
        self.few: bool = given.quick
        self.peers = [p for p in PEERS if p not in given.without.split(",")]
        self._folder = folder
        self._new_database = new_database
        self._numbers = count()

    def fresh(self) -> Path:
        """Return an unused path."""
        return self._folder / f"store-{next(self._numbers)}"

    def url(self, database: str, driver: str = "") -> str:
        """Return a new database for a PostgreSQL driver ("": ours)."""
        if database == "sqlite":
            return f"sqlite:///{self.fresh()}.db" if driver else str(self.fresh())
        made = self._new_database()
        return made.replace("postgresql://", f"postgresql+{driver}://") if driver else made


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--parts", default="trials,metrics,size,load,writers,ask-tell")
    parser.add_argument("--size", default="1000000,100000000", help="trials, values of million")
    parser.add_argument("--writers-for", type=float, default=0.0, help="seconds (3, quick; 20)")
    parser.add_argument("--ask-tell-for", type=float, default=0.0, help="seconds (1, quick; 8)")
    parser.add_argument("--processes", default="1,4,16,32", help="of ask-tell, each a run")
    parser.add_argument("--optimizer", default="random", help="ours, of ask-tell")
    parser.add_argument("--without", default="", help="peers to leave out, with commas between")
    given = parser.parse_args()
    unknown = set(given.parts.split(",")) - PARTS.keys()
    if unknown:
        parser.error(f"no such parts: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    figures: dict[str, Any] = {"benchmark": "store"}
    with tempfile.TemporaryDirectory() as name, running_server() as server:
        os.environ["TUNER_ARTIFACTS"] = str(Path(name) / "artifacts")
        if "mlflow" not in given.without and "trials" in given.parts.split(","):
            interpreter("mlflow")  # created before the measurement
        run = Run(given, Path(name), server.new_database)
        for part in given.parts.split(","):
            figures |= PARTS[part](run)
    print(json.dumps(figures))


def measure_trials(run: Run) -> dict[str, Any]:
    """Record finished trials, next to the peers."""
    m = Measures(rounds=1 if run.few else 3)
    n, theirs = (2_000, 20) if run.few else (20_000, 100)
    figures = {}
    for reports, suffix in ((0, ""), (10, "_with_reports")):
        for database in DATABASES:
            title = f"{database}: trials a second, {reports or 'no'} reports"
            known: dict[str, Callable[[], float]] = {
                "optuna": lambda d=database, r=reports: optuna_peer.trials_a_second(
                    run.url(d, "psycopg"), theirs, r
                ),
                "mlflow": lambda d=database, r=reports: _mlflow(run.url(d, "psycopg2"), theirs, r),
            }
            m.rates(
                title,
                {
                    "tuner": lambda d=database, r=reports: ours.trials_a_second(run.url(d), n, r),
                    **{peer: known[peer] for peer in run.peers},
                },
            )
            for peer in run.peers:
                figures[f"{database}_vs_{peer}{suffix}"] = round(m.ratio(title, peer), 1)
    return figures


def measure_metrics(run: Run) -> dict[str, Any]:
    """Record step metrics, next to bare rows."""
    m = Measures(rounds=1 if run.few else 3)
    values = 100_000 if run.few else 1_000_000
    figures = {}
    for database in DATABASES:
        rows = (
            (lambda: bare.sqlite_rows_a_second(run.fresh(), values))
            if database == "sqlite"
            else (lambda: bare.postgres_rows_a_second(run.url("postgres"), values))
        )
        for which, suffix in (("ended", ""), ("go on", "_running")):
            title = f"{database}: step metrics a second, of runs that {which}"
            m.rates(
                title,
                {
                    "tuner": lambda d=database, live=which == "go on": ours.metrics_a_second(
                        run.url(d), values, live=live
                    ),
                    "bare rows": rows,
                },
            )
            key = f"{database}_metrics_vs_bare{suffix}"
            figures[key] = round(m.ratio(title, "bare rows"), 2)
    return figures


def measure_size(run: Run) -> dict[str, Any]:
    """Measure the bytes per metric value."""
    packed, as_rows = ours.bytes_a_value(run.fresh(), 200 if run.few else 2_000, 100)
    print(f"\nSQLite bytes a metric value: {packed:.1f} packed, {as_rows:.1f} of running trials")
    return {
        "metric_bytes_sqlite": round(packed, 2),
        "metric_bytes_sqlite_running": round(as_rows, 2),
    }


def measure_load(run: Run) -> dict[str, Any]:
    """Load a whole study, next to Optuna."""
    n = 1_000 if run.few else 50_000
    loads = [
        ours.load_seconds(run.fresh(), n),
        optuna_peer.load_seconds(f"sqlite:///{run.fresh()}.db", n),
    ]
    print(f"a study of {n:,} trials read whole: {loads[0]:.2f} s; Optuna {loads[1]:.2f} s")
    return {"load_vs_optuna": round(loads[1] / loads[0], 1)}


def measure_writers(run: Run) -> dict[str, Any]:
    """Run 16 concurrent writers."""
    seconds = run.given.writers_for or (3.0 if run.few else 20.0)
    found = {}
    for database in DATABASES:
        found[database] = writers.run(run.url(database), 16, seconds)
        print(f"16 writers for {seconds:g} s, {database}: {found[database]}")
    return {
        "writers_p99_ms": {name: round(w.p99, 1) for name, w in found.items()},
        "writers_errors_lost_repeated": {
            name: [w.errors, w.lost, w.repeated] for name, w in found.items()
        },
    }


def measure_ask_tell(run: Run) -> dict[str, Any]:
    """Run increasing numbers of processes on one study, in turns with Optuna."""
    seconds = run.given.ask_tell_for or (1.0 if run.few else 8.0)
    figures: dict[str, Any] = {}
    for database in DATABASES:
        print(f"\n{database}: ask and tell on one study, {seconds:g} s, {run.given.optimizer}")
        print(f"  {'':8s}{ask_tell.HEAD}")
        alone = 0.0
        for processes in map(int, run.given.processes.split(",")):
            mine = ask_tell.ours(run.url(database), processes, seconds, run.given.optimizer)
            alone = alone or mine.rate
            print(f"  {'tuner':8s}{mine.row()}", flush=True)
            key = f"{database}_{processes}"
            figures[key] = mine.json() | {"of_first": round(mine.rate / alone, 2)}
            if "optuna" in run.peers:
                theirs = ask_tell.optunas(run.url(database, "psycopg"), processes, seconds)
                print(f"  {'optuna':8s}{theirs.row()}", flush=True)
                figures[key]["vs_optuna"] = round(mine.rate / theirs.rate, 1)
                figures[key]["optuna"] = theirs.json()
    return {"ask_tell": figures}


def measure_million(run: Run) -> dict[str, Any]:
    """Create a large store on each database and query it."""
    trials, values = map(int, run.given.size.split(","))
    found = {}
    for database in DATABASES:
        figures = million.measure(run.url(database), million.Size(trials, values))
        print(f"\n{database}: {trials:,} trials, {values:,} values")
        for name, value in figures.items():
            print(f"  {name:32s}{value:12.1f}")
        found[database] = {name: round(value, 2) for name, value in figures.items()}
    return {"million": found}


PARTS: dict[str, Callable[[Run], dict[str, Any]]] = {
    "trials": measure_trials,
    "metrics": measure_metrics,
    "size": measure_size,
    "load": measure_load,
    "writers": measure_writers,
    "ask-tell": measure_ask_tell,
    "million": measure_million,
}


def _mlflow(url: str, n: int, reports: int) -> float:
    done = subprocess.run(
        [interpreter("mlflow"), MLFLOW, url, str(n), str(reports)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
