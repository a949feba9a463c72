"""The comparison of two profiles: every test, and one decision that keeps the rate of alarms."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tuner.drift import statistics
from tuner.drift.joint import FOLDS, classifier_test
from tuner.drift.report import DriftReport, Finding, JointFinding
from tuner.errors import ArgumentError
from tuner.profiles.profile import Column, Profile
from tuner.profiles.tables import as_frame

if TYPE_CHECKING:
    import numpy as np

FEWEST_ROWS = 30
"""Smallest number of rows of either side; tests of fewer rows find next to nothing."""

FEWEST_VALUES = 10
"""Smallest number of values of a column on either side."""

COUNTED = ("category", "boolean")


def compare(
    reference: Any,
    new: Any,
    *,
    alpha: float = 0.05,
    min_effect: float = 0.02,
    joint: bool = True,
    target: str | None = None,
    ignore: Sequence[str] = (),
    seed: int = 0,
) -> DriftReport:
    """Return whether new data differs from a reference, and in which columns.

    Parameters
    ----------
    reference, new
        A `Profile`, or a table that `Profile.of` accepts.
    alpha
        Bound of the probability of an alarm if both come from the same distribution, between 0 and
        1. The tests of columns get one half of it, and the joint test the other.
    min_effect
        Smallest difference that is drift, between 0 and 1: of the distribution functions, of
        category shares (total variation), of missing rates, or of 2 AUC - 1 of the joint test.
    joint
        Whether to train the classifier of the joint test.
    target
        Name of the column of labels, if tables are given. New data may lack it.
    ignore
        Names of columns that are not compared.
    seed
        Seed of samples, folds and classifiers.

    Raises
    ------
    ArgumentError
        If an argument is invalid, no column is in both, or a side has fewer than 30 rows.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> old = {"age": rng.normal(40, 9, 500), "income": rng.normal(30, 5, 500)}
    >>> new = {"age": rng.normal(46, 9, 500), "income": rng.normal(30, 5, 500)}
    >>> report = compare(old, new)
    >>> report.drift, [finding.column for finding in report.drifted]
    (True, ['age'])
    """
    for name, value in (("alpha", alpha), ("min_effect", min_effect)):
        is_number = isinstance(value, int | float)
        if not is_number or not (0.0 < value < 1.0 or (name == "min_effect" and value == 0.0)):
            raise ArgumentError(f"drift: {name}={value!r} must be a number between 0 and 1")
    old = _side(reference, target, ignore, seed, "the reference")
    fresh = _side(new, target, ignore, seed + 1, "the new data")
    if not old.columns.keys() & fresh.columns.keys():
        raise ArgumentError(
            f"drift: the reference and the new data have no column in common; the reference has "
            f"{', '.join(list(old.columns)[:20])}"
        )
    share = alpha / 2 if joint else alpha
    findings = _decided(list(_findings(old, fresh)), share, min_effect)
    together = _joint(old, fresh, share, min_effect, seed) if joint else None
    return DriftReport(
        findings=tuple(findings),
        joint=together,
        alpha=alpha,
        min_effect=min_effect,
        reference=old,
        new=fresh,
    )


def _side(data: Any, target: str | None, ignore: Sequence[str], seed: int, what: str) -> Profile:
    if isinstance(data, Profile):
        profile = data
    else:
        frame = as_frame(data)
        optional = what == "the new data" and target not in frame.columns
        profile = Profile.of(frame, target=None if optional else target, seed=seed)
    if ignore:
        columns = {n: c for n, c in profile.columns.items() if n not in ignore}
        sample = {n: profile.sample[n] for n in columns}
        profile = dataclasses.replace(profile, columns=columns, sample=sample)
    if profile.rows < FEWEST_ROWS:
        raise ArgumentError(
            f"drift: {what} has {profile.rows} rows; pass at least {FEWEST_ROWS} rows"
        )
    return profile


def _findings(old: Profile, new: Profile) -> Iterator[Finding]:
    """Yield the finding of each column, before the correction for many tests."""
    for name, was in old.columns.items():
        now = new.columns.get(name)
        if now is None:
            if was.role == "feature":
                yield Finding(
                    name, was.role, "schema", note="is missing in the new data", drift=True
                )
            else:
                yield Finding(name, was.role, "schema", note="is not in the new data")
            continue
        yield from _of_column(was, now, old.sample[name], new.sample[name])
    for name, now in new.columns.items():
        if name not in old.columns:
            yield Finding(name, now.role, "schema", note="is new")
    first, second = old.quality, new.quality
    if first is not None and second is not None and first.metric == second.metric:
        found = statistics.quality(first, second)
        note = f"from {first.mean:.4g} to {second.mean:.4g}"
        yield _finding(first.metric, "metric", "metric", found, note)


def _of_column(
    was: Column, now: Column, old: np.ndarray[Any, Any], new: np.ndarray[Any, Any]
) -> Iterator[Finding]:
    if was.missing + now.missing:
        found = statistics.missing((was.missing, was.rows), (now.missing, now.rows))
        note = f"from {was.missing / was.rows:.1%} to {now.missing / now.rows:.1%}"
        yield _finding(was.name, was.role, "missing", found, note)
    kinds = {was.kind, now.kind}
    if "empty" in kinds:
        both = was.kind == now.kind
        yield Finding(was.name, was.role, "values", note="has no values" if both else _emptied(was))
    elif kinds == {"text"} or kinds == {"text", "category"}:
        yield Finding(was.name, was.role, "values", note="is nearly unique text, not tested")
    elif len(kinds) > 1:
        note = f"was {was.kind}, is {now.kind}"
        yield Finding(was.name, was.role, "schema", note=note, drift=True)
    elif was.kind == "datetime":
        yield Finding(was.name, was.role, "values", note="is a datetime, not tested")
    elif min(was.present, now.present) < FEWEST_VALUES:
        yield Finding(was.name, was.role, "values", note="has too few values to test")
    elif was.kind in COUNTED:
        found = statistics.counts(was.counts, now.counts, (was.other, now.other))
        yield _finding(was.name, was.role, "values", found, _unseen(was, now))
    else:
        yield _numbers(was, now, old, new)


def _numbers(
    was: Column, now: Column, old: np.ndarray[Any, Any], new: np.ndarray[Any, Any]
) -> Finding:
    import numpy as np

    old, new = old[~np.isnan(old)], new[~np.isnan(new)]
    if min(len(old), len(new)) < FEWEST_VALUES:
        return Finding(was.name, was.role, "values", note="has too few values to test")
    note = f"median from {was.quantiles[50]:.4g} to {now.quantiles[50]:.4g}"
    if now.infinite and not was.infinite:
        note += f", {now.infinite} infinite values"
    return _finding(was.name, was.role, "values", statistics.numbers(old, new), note)


def _emptied(was: Column) -> str:
    return "had no values" if was.kind == "empty" else "has no values in the new data"


def _unseen(was: Column, now: Column) -> str:
    if was.other:
        return ""
    unseen = [name for name in now.counts if name not in was.counts]
    if not unseen:
        return ""
    more = f" and {len(unseen) - 3} more" if len(unseen) > 3 else ""
    return f"unseen: {', '.join(unseen[:3])}{more}"


def _finding(column: str, role: str, what: str, found: statistics.Tested, note: str) -> Finding:
    return Finding(column, role, what, found.test, found.p_value, None, found.effect, note)


def _decided(findings: list[Finding], alpha: float, min_effect: float) -> list[Finding]:
    """Return the findings with adjusted p-values and a decision for each."""
    tested = [f for f in findings if f.p_value is not None]
    adjusted = iter(statistics.adjusted([f.p_value for f in tested if f.p_value is not None]))
    decided = []
    for finding in findings:
        if finding.p_value is not None and finding.effect is not None:
            p = next(adjusted)
            drift = p <= alpha and finding.effect >= min_effect
            finding = dataclasses.replace(finding, adjusted=p, drift=drift)
        decided.append(finding)
    return decided


def _joint(
    old: Profile, new: Profile, alpha: float, min_effect: float, seed: int
) -> JointFinding | None:
    names = [
        name
        for name, was in old.columns.items()
        if (now := new.columns.get(name)) is not None
        and was.kind == now.kind
        and was.kind in ("number", *COUNTED)
        and was.role != "prediction"
    ]
    if not names:
        return None
    first, second = ([profile.sample[name] for name in names] for profile in (old, new))
    if min(len(first[0]), len(second[0])) < FEWEST_VALUES * FOLDS:
        return None
    auc, p_value, importances = classifier_test(first, second, seed)
    drift = p_value <= alpha and 2.0 * auc - 1.0 >= min_effect
    ranked = sorted(zip(names, importances, strict=True), key=lambda pair: -pair[1])
    return JointFinding(auc, p_value, alpha, drift, dict(ranked))
