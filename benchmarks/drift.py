"""False alarms and detection of drift at 2,000 rows, and time and memory of a million rows.

Thresholds were chosen on the generators of `CHOSEN`. A quick run showed those of `ASIDE` before the
last choice; `FRESH` was made afterwards and confirms the result. The peer is one
Kolmogorov-Smirnov test for each column, with categories as codes and missing values dropped, at
alpha divided by the number of columns (Bonferroni).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from tuner.drift import compare

ROWS = 2000
ALPHA = 0.05
Rng = np.random.Generator
Make = Callable[[Rng, int], pd.DataFrame]


def gaussian(rng: Rng, n: int) -> pd.DataFrame:
    """Ten numbers, of which pairs are correlated by 0.6."""
    x = rng.normal(size=(n, 10))
    x[:, 1::2] = 0.6 * x[:, ::2] + 0.8 * x[:, 1::2]
    return pd.DataFrame(x, columns=[f"x{i}" for i in range(10)])


def tied(rng: Rng, n: int) -> pd.DataFrame:
    """Counts, rounded and zero-inflated numbers, and columns with many equal values."""
    return pd.DataFrame(
        {
            "poisson": rng.poisson(3, n),
            "rounded": rng.normal(0, 1, n).round(1),
            "zeros": np.where(rng.random(n) < 0.7, 0.0, rng.exponential(1, n)),
            "large": rng.poisson(200, n),
            "level": rng.integers(0, 4, n),
            "constant": np.ones(n),
        }
    )


def categorical(rng: Rng, n: int) -> pd.DataFrame:
    """Categories with few, many and rare values."""
    zipf = 1 / np.arange(1, 301)
    return pd.DataFrame(
        {
            "binary": rng.random(n) < 0.2,
            "few": rng.choice(list("abcd"), n, p=[0.6, 0.25, 0.1, 0.05]),
            "many": rng.choice([f"c{i}" for i in range(300)], n, p=zipf / zipf.sum()),
            "flat": rng.choice([f"f{i}" for i in range(40)], n),
            "number": rng.normal(size=n),
        }
    )


def holes(rng: Rng, n: int) -> pd.DataFrame:
    """Numbers and categories with missing values, of which some depend on another column."""
    z = rng.normal(size=n)
    number = np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n))
    depends = np.where(z > 1.0, np.nan, rng.lognormal(size=n))
    word = np.where(rng.random(n) < 0.02, None, rng.choice(list("uvw"), n).astype(object))
    rare = np.where(rng.random(n) < 0.001, np.nan, rng.random(n))
    return pd.DataFrame({"z": z, "number": number, "depends": depends, "word": word, "rare": rare})


def wide(rng: Rng, n: int) -> pd.DataFrame:
    """Thirty numbers of one common factor."""
    factor = rng.normal(size=(n, 1))
    x = 0.7 * factor + rng.normal(size=(n, 30))
    return pd.DataFrame(x, columns=[f"x{i}" for i in range(30)])


def heavy(rng: Rng, n: int) -> pd.DataFrame:
    """Aside: heavy tails, infinities and two clusters."""
    x = rng.standard_t(2, size=(n, 6))
    x[rng.random((n, 6)) < 0.001] = np.inf
    cluster = rng.random(n) < 0.3
    x[:, 0] += 5 * cluster
    return pd.DataFrame(x, columns=[f"t{i}" for i in range(6)]).assign(cluster=cluster)


def people(rng: Rng, n: int) -> pd.DataFrame:
    """Aside: a customer table of mixed, dependent columns."""
    age = np.clip(rng.normal(42, 14, n), 18, 90).round()
    income = np.exp(rng.normal(10, 0.5, n) + age / 90)
    income[rng.random(n) < 0.08] = np.nan
    town = rng.choice([f"town {i}" for i in range(60)], n, p=rng_free_shares(60))
    plan = np.where(age > 50, "senior", rng.choice(["basic", "plus", "max"], n))
    return pd.DataFrame(
        {
            "age": age,
            "income": income,
            "town": town,
            "plan": plan,
            "visits": rng.negative_binomial(1, 0.2, n),
            "active": rng.random(n) < 0.6,
            "score": rng.beta(2, 5, n),
        }
    )


def orders(rng: Rng, n: int) -> pd.DataFrame:
    """Fresh: orders of a shop, with skewed amounts, ratings that are often missing, and times."""
    items = 1 + rng.poisson(1.5, n)
    rating = rng.choice([1.0, 2.0, 3.0, 4.0, 5.0], n, p=[0.05, 0.05, 0.15, 0.35, 0.4])
    rating[rng.random(n) < 0.4] = np.nan
    country = rng.choice([f"country {i}" for i in range(25)], n, p=rng_free_shares(25))
    channel = rng.choice(["web", "app", "shop", "phone"], n, p=[0.45, 0.3, 0.2, 0.05])
    return pd.DataFrame(
        {
            "amount": items * rng.lognormal(3, 0.8, n),
            "items": items,
            "delay": rng.gamma(2, 1.5, n),
            "rating": rating,
            "country": country,
            "channel": channel,
            "returning": rng.random(n) < 0.35,
            "at": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.random(n) * 30, unit="D"),
        }
    )


def sensors(rng: Rng, n: int) -> pd.DataFrame:
    """Fresh: sensors with saturation, few digits, a quadratic dependence and a status."""
    load = rng.beta(2, 3, n)
    status = np.where(load > 0.8, "overload", np.where(rng.random(n) < 0.02, "error", "ok"))
    return pd.DataFrame(
        {
            "load": load,
            "heat": np.minimum(20 + 60 * load**2 + rng.normal(0, 4, n), 70),
            "volts": (230 + rng.normal(0, 2, n)).round(),
            "noise": rng.laplace(0, 1, n),
            "count": rng.geometric(0.1, n),
            "status": status,
        }
    )


def rng_free_shares(k: int) -> np.ndarray:
    """Return the shares of k towns, which are the same in both tables."""
    sizes = 1 / np.arange(1, k + 1) ** 0.8
    return sizes / sizes.sum()


CHOSEN: dict[str, Make] = {
    "gaussian": gaussian,
    "tied": tied,
    "categorical": categorical,
    "holes": holes,
    "wide": wide,
}
ASIDE: dict[str, Make] = {"heavy": heavy, "people": people}
FRESH: dict[str, Make] = {"orders": orders, "sensors": sensors}
FAMILIES = {"chosen": CHOSEN, "aside": ASIDE, "fresh": FRESH}


def labeled(rng: Rng, n: int, *, positive: float = 0.3) -> pd.DataFrame:
    """Six columns that depend on a label with the given share of positives."""
    label = rng.random(n) < positive
    x = rng.normal(size=(n, 6)) + 0.5 * label[:, None] * (np.arange(6) < 3)
    return pd.DataFrame(x, columns=[f"x{i}" for i in range(6)]).assign(label=label)


def mixed(rng: Rng, n: int) -> pd.DataFrame:
    """Ten numbers and four categories."""
    return pd.concat([gaussian(rng, n), categorical(rng, n).drop(columns="number")], axis=1)


COLUMNS = {
    "chosen": (mixed, "x0", "few"),
    "aside": (people, "score", "town"),
    "fresh": (orders, "delay", "channel"),
}
"""The table of each family in which one column drifts: a number or a category."""


def shifted(kind: str, family: str, rng: Rng, n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a reference and new data with one drift of a known size."""
    if kind == "label":
        few = 0.5 if family == "fresh" else 0.3
        return labeled(rng, n, positive=few), labeled(rng, n, positive=few + 0.07)
    if kind == "correlation":
        return correlated(rng, n, family, 0.0), correlated(rng, n, family, 0.7)
    make, number, category = COLUMNS[family]
    old, new = make(rng, n), make(rng, n)
    if kind == "mean":
        new[number] += 0.2 * old[number].std()
    elif kind == "scale":
        middle = old[number].median()
        new[number] = middle + 1.4 * (new[number] - middle)
    elif kind == "mix":
        common, _, third = old[category].value_counts().index[:3]
        share = 0.08 / (old[category] == common).mean()  # 8 % of all rows move
        moved = (new[category] == common) & (rng.random(n) < share)
        new.loc[moved, category] = third
    elif kind == "missingness":
        new.loc[rng.random(n) < 0.03, number] = np.nan
    return old, new


def correlated(rng: Rng, n: int, family: str, r: float) -> pd.DataFrame:
    """Numbers of which two pairs are correlated by r; normal, uniform or skewed ones."""
    x = rng.normal(size=(n, {"chosen": 10, "aside": 6, "fresh": 8}[family]))
    for first in (0, 2):
        x[:, first + 1] = r * x[:, first] + np.sqrt(1 - r**2) * x[:, first + 1]
    if family != "chosen":
        x = stats.norm.cdf(x)
    if family == "fresh":
        x = stats.gamma.ppf(x, 2)
    return pd.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])])


SUITE = ("mean", "scale", "mix", "missingness", "correlation", "label")


def peer(old: pd.DataFrame, new: pd.DataFrame) -> bool:
    """Return whether any column fails Kolmogorov-Smirnov with Bonferroni's correction."""
    for name in old:
        first, second = old[name].dropna(), new[name].dropna()
        if not pd.api.types.is_numeric_dtype(old[name]):
            codes, _ = pd.factorize(pd.concat([first, second]).astype(str), sort=True)
            first, second = codes[: len(first)], codes[len(first) :]
        p = stats.ks_2samp(
            np.asarray(first, float), np.asarray(second, float), method="asymp"
        ).pvalue
        if p <= ALPHA / old.shape[1]:
            return True
    return False


def one_pair(kind: str, family: str, seed: int) -> tuple[bool, bool, bool, bool, float]:
    """Return the alarm, its parts by column and jointly, the peer's alarm, and CPU seconds."""
    rng = np.random.default_rng([seed, list(FAMILIES).index(family), 22])
    generators = FAMILIES[family]
    if kind in generators:
        old, new = (generators[kind](rng, ROWS) for _ in range(2))
    else:
        old, new = shifted(kind, family, rng, ROWS)
    begin = time.process_time()
    report = compare(old, new, alpha=ALPHA, seed=seed)
    seconds = time.process_time() - begin
    joint = report.joint is not None and report.joint.drift
    return report.drift, bool(report.drifted), joint, peer(old, new), seconds


def row(name: str, found: Sequence[tuple[bool, bool, bool, bool, float]]) -> dict[str, object]:
    """Return the rates of a group of pairs."""
    alarm, columns, joint, other, seconds = np.array(found, dtype=float).mean(axis=0)
    return {
        "group": name,
        "pairs": len(found),
        "alarm": round(float(alarm), 3),
        "by column": round(float(columns), 3),
        "jointly": round(float(joint), 3),
        "KS+Bonferroni": round(float(other), 3),
        "CPU s": round(float(seconds), 2),
    }


def large(rows: int, columns: int) -> dict[str, object]:
    """Return seconds and peak memory of comparing two large tables, with the tables."""
    rng = np.random.default_rng(0)
    old, new = (rng.normal(size=(rows, columns)) for _ in range(2))
    new[:, 0] += 0.005  # far below the smallest effect
    begin, cpu = time.perf_counter(), time.process_time()
    report = compare(old, new)
    p = stats.ttest_ind(old[:, 0], new[:, 0]).pvalue
    return {
        "large": f"{rows} x {columns}",
        "alarm": report.drift,
        "wall s": round(time.perf_counter() - begin, 1),
        "CPU s": round(time.process_time() - cpu, 1),
        "peak GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "t test p": float(f"{p:.2g}"),
    }


def groups(
    quick: bool, pairs: int, drifts: int
) -> Iterator[tuple[str, list[tuple[str, str, int]]]]:
    """Yield the name and the pairs of each group."""
    for family, generators in FAMILIES.items():
        each = 2 if quick else pairs // len(generators)
        for kind in generators:
            yield f"none: {kind}", [(kind, family, seed) for seed in range(each)]
    for kind, family in product(SUITE, FAMILIES):
        where = "" if family == "chosen" else f" ({family})"
        count = 3 if quick else drifts
        yield f"{kind}{where}", [(kind, family, seed) for seed in range(count)]


def main() -> None:
    """Print a table, one row for each group, and the same as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=200, help="undrifted pairs, and as many aside")
    parser.add_argument("--quick", action="store_true", help="few pairs and 100,000 rows")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--drifts", type=int, default=40, help="pairs of each kind of drift")
    parser.add_argument("--only", default="", help="families or groups, by commas")
    options = parser.parse_args()
    only = set(filter(None, options.only.split(",")))
    figures = (
        {} if only and "large" not in only else large(100_000 if options.quick else 1_000_000, 50)
    )
    rows, undrifted = [], {family: [] for family in FAMILIES}
    with ProcessPoolExecutor(options.jobs) as pool:
        for name, calls in groups(options.quick, options.pairs, options.drifts):
            if only and not only & {name, calls[0][1]}:
                continue
            found = list(pool.map(one_pair, *zip(*calls, strict=True)))
            if name.startswith("none"):
                undrifted[calls[0][1]] += found
            rows.append(row(name, found))
            cells = rows[-1].items() if len(rows) > 1 else [(k, k) for k in rows[0]]
            if len(rows) == 1:
                print("  ".join(f"{k:>22}" if k == "group" else f"{k:>13}" for k, _ in cells))
            print(
                "  ".join(
                    f"{v!s:>22}" if k == "group" else f"{v!s:>13}" for k, v in rows[-1].items()
                ),
                flush=True,
            )
    totals = [row(f"none: all {name}", found) for name, found in undrifted.items() if found]
    rows += totals
    for figure in totals:
        print("  ".join(f"{v!s:>22}" if k == "group" else f"{v!s:>13}" for k, v in figure.items()))
    print(figures)
    print(json.dumps([*rows, figures]))


if __name__ == "__main__":
    main()
