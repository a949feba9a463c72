"""How fast and how small the record is: our store beside Optuna's and MLflow's, in one run.

    python -m benchmarks.store [--quick] [--million] [--writers-for SECONDS] [--without mlflow]

Trials recorded a second (ten parameters, one value; and with ten reports), on SQLite and on a real
PostgreSQL; step metrics a second beside what the databases take bare; bytes a metric value; a study
read whole; 16 processes writing at once. `--million` makes a store of a million trials and a
hundred million values, and asks it. Contestants take turns, and ratios are of medians in one run.
MLflow lives in an environment that is made below ``.build``. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.postgres import running_server
from benchmarks.quality.environment import interpreter
from benchmarks.store import bare, million, optuna_peer, ours, writers

MLFLOW = Path(__file__).with_name("mlflow_peer.py")


class Measures:
    """Runs contestants in turns, prints as it goes, and keeps the medians."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self.figures: dict[str, float] = {}

    def rates(self, title: str, contestants: dict[str, Callable[[], float]]) -> None:
        """Print how often a second each does it, and keep it as ``title/name``."""
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
        """Return how many times ours is the peer's."""
        return self.figures[f"{title}/tuner"] / self.figures[f"{title}/{peer}"]


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--million", action="store_true", help="the large store; minutes")
    parser.add_argument("--size", default="1000000,100000000", help="its trials and values")
    parser.add_argument("--writers-for", type=float, default=0.0, help="seconds (3, quick; 20)")
    parser.add_argument("--without", default="", help="peers to leave out, with commas between")
    given = parser.parse_args()
    left_out = set(given.without.split(","))
    with tempfile.TemporaryDirectory() as name, running_server() as server:
        os.environ["TUNER_ARTIFACTS"] = str(Path(name) / "artifacts")
        if given.million:
            trials, values = map(int, given.size.split(","))
            print_million(million.measure(Path(name) / "large", million.Size(trials, values)))
        else:
            measure(Path(name), server.new_database, given, left_out)


def measure(
    folder: Path, new_database: Callable[[], str], given: argparse.Namespace, left_out: set[str]
) -> None:
    """Run everything but the large store."""
    few = given.quick
    m = Measures(rounds=1 if few else 3)
    for reports in (0, 10):
        for database in ("sqlite", "postgres"):
            urls = _urls(folder, new_database, database)
            n, theirs = (2_000, 20) if few else (20_000, 100)
            contestants: dict[str, Callable[[], float]] = {
                "tuner": lambda urls=urls, n=n, r=reports: ours.trials_a_second(urls(""), n, r),
                "optuna": lambda urls=urls, n=theirs, r=reports: optuna_peer.trials_a_second(
                    urls("psycopg"), n, r
                ),
            }
            if "mlflow" not in left_out:
                contestants["mlflow"] = lambda urls=urls, n=theirs, r=reports: _mlflow(
                    urls("psycopg2"), n, r
                )
            m.rates(_title(database, reports), contestants)
    values = 100_000 if few else 1_000_000
    for database in ("sqlite", "postgres"):
        urls = _urls(folder, new_database, database)
        rows = (
            (lambda: bare.sqlite_rows_a_second(_fresh(folder), values))
            if database == "sqlite"
            else (lambda: bare.postgres_rows_a_second(new_database(), values))
        )
        m.rates(
            f"{database}: step metrics a second, of runs that ended",
            {
                "tuner": lambda urls=urls: ours.metrics_a_second(urls(""), values, live=False),
                "bare rows": rows,
            },
        )
        m.rates(
            f"{database}: step metrics a second, of runs that go on",
            {
                "tuner": lambda urls=urls: ours.metrics_a_second(urls(""), values, live=True),
                "bare rows": rows,
            },
        )
    packed, as_rows = ours.bytes_a_value(_fresh(folder), 200 if few else 2_000, 100)
    print(f"\nSQLite bytes a metric value: {packed:.1f} packed, {as_rows:.1f} of running trials")
    n = 2_000 if few else 50_000
    loads = [
        ours.load_seconds(_fresh(folder), n),
        optuna_peer.load_seconds(f"sqlite:///{_fresh(folder)}.db", n),
    ]
    print(f"a study of {n:,} trials read whole: {loads[0]:.2f} s; Optuna {loads[1]:.2f} s")
    seconds = given.writers_for or (3.0 if few else 20.0)
    found = {}
    for database in ("sqlite", "postgres"):
        found[database] = writers.run(_urls(folder, new_database, database)(""), 16, seconds)
        print(f"16 writers for {seconds:g} s, {database}: {found[database]}")
    figures: dict[str, Any] = {
        "benchmark": "store",
        "metric_bytes_sqlite": round(packed, 2),
        "metric_bytes_sqlite_running": round(as_rows, 2),
        "load_vs_optuna": round(loads[1] / loads[0], 1),
        "writers_p99_ms": {name: round(w.p99, 1) for name, w in found.items()},
        "writers_errors_lost_repeated": {
            name: [w.errors, w.lost, w.repeated] for name, w in found.items()
        },
    }
    for database in ("sqlite", "postgres"):
        for peer in ("optuna", "mlflow"):
            if peer not in left_out:
                plain = m.ratio(_title(database, 0), peer)
                with_reports = m.ratio(_title(database, 10), peer)
                figures[f"{database}_vs_{peer}"] = round(plain, 1)
                figures[f"{database}_vs_{peer}_with_reports"] = round(with_reports, 1)
        for which in ("ended", "go on"):
            title = f"{database}: step metrics a second, of runs that {which}"
            key = f"{database}_metrics_vs_bare" + ("_running" if which == "go on" else "")
            figures[key] = round(m.ratio(title, "bare rows"), 2)
    print(json.dumps(figures))


def print_million(figures: dict[str, float]) -> None:
    """Print what asking the large store took."""
    for name, value in figures.items():
        print(f"{name:32s}{value:12.1f}")
    print(json.dumps({"benchmark": "store", "million": figures}))


def _title(database: str, reports: int) -> str:
    return f"{database}: trials a second, {reports or 'no'} reports"


def _urls(folder: Path, new_database: Callable[[], str], database: str) -> Callable[[str], str]:
    """Return a function that gives a fresh database for a driver of PostgreSQL ("": ours)."""

    def url(driver: str) -> str:
        if database == "sqlite":
            path = _fresh(folder)
            return f"sqlite:///{path}.db" if driver else str(path)
        made = new_database()
        return made.replace("postgresql://", f"postgresql+{driver}://") if driver else made

    return url


_numbers = iter(range(10**9))


def _fresh(folder: Path) -> Path:
    return folder / f"store-{next(_numbers)}"


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
