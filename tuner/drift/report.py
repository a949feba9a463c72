"""The report of a comparison: text, JSON, and a page of HTML."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tuner.errors import ExportError
from tuner.errors.printable import one_line, well_formed
from tuner.profiles.profile import Profile

IN_SUMMARY = 50
"""Largest number of findings in a summary."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One test of one column, or one difference of the columns.

    Attributes
    ----------
    column : str
        The column, or the metric.
    role : str
        ``feature``, ``target``, ``prediction`` or ``metric``.
    what : str
        ``values``, ``missing``, ``metric``, or ``schema`` for a column that only one side has or
        that has another kind.
    test : str or None
        The name of the test; None if nothing was tested.
    p_value, adjusted : float or None
        The p-value, and the one adjusted for all tests of the report.
    effect : float or None
        The size of the difference, from 0 to 1.
    note : str
        The values behind it.
    drift : bool
        Whether it is drift.
    """

    column: str
    role: str
    what: str
    test: str | None = None
    p_value: float | None = None
    adjusted: float | None = None
    effect: float | None = None
    note: str = ""
    drift: bool = False


@dataclass(frozen=True, slots=True)
class JointFinding:
    """The result of the classifier that tells new rows from reference rows.

    Attributes
    ----------
    auc : float
        Area under the ROC curve on held-out rows; 0.5 is chance.
    p_value : float
        Probability of such ranks if both come from the same distribution.
    alpha : float
        Largest p-value that is drift.
    drift : bool
        Whether it is drift.
    importances : dict
        Decrease of the AUC if a column is permuted, largest first.
    """

    auc: float
    p_value: float
    alpha: float
    drift: bool
    importances: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, repr=False)
class DriftReport:
    """Whether new data differs from a reference; `str` of it is a table.

    Attributes
    ----------
    findings : tuple of Finding
        Every test of a column, in the order of the columns.
    joint : JointFinding or None
        The joint test; None if it was not done.
    alpha : float
        Bound of the probability of a false alarm.
    min_effect : float
        Smallest difference that is drift.
    reference, new : Profile
        The compared profiles.
    """

    findings: tuple[Finding, ...]
    joint: JointFinding | None
    alpha: float
    min_effect: float
    reference: Profile
    new: Profile

    @property
    def drift(self) -> bool:
        """Whether anything drifted."""
        return bool(self.drifted) or (self.joint is not None and self.joint.drift)

    @property
    def drifted(self) -> list[Finding]:
        """The findings that are drift, the largest effect first."""
        found = [finding for finding in self.findings if finding.drift]
        return sorted(found, key=lambda f: -(1.0 if f.effect is None else f.effect))

    @property
    def verdict(self) -> str:
        """The decision in one sentence."""
        if not self.drift:
            return "no drift found"
        columns = list(dict.fromkeys(finding.column for finding in self.drifted))
        if not columns:
            return "drift: columns together, none by itself"
        more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
        return f"drift: {one_line(', '.join(columns[:5]))}{more}"

    def __str__(self) -> str:
        lines = [
            self.verdict,
            f"{self.reference.rows} reference rows, {self.new.rows} new rows, alpha "
            f"{self.alpha:g}, smallest effect {self.min_effect:g}",
        ]
        if self.joint is not None:
            lines.append(
                f"joint test: AUC {self.joint.auc:.3f}, p {self.joint.p_value:.2g}"
                f"{', drift' if self.joint.drift else ''}"
            )
        shown = [*self.drifted, *(f for f in self.findings if not f.drift)]
        lines += ["", *_aligned([_HEADER, *(_row(finding) for finding in shown)])]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<DriftReport: {self.verdict}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values, without the profiles."""
        return {
            "drift": self.drift,
            "verdict": self.verdict,
            "alpha": self.alpha,
            "min_effect": self.min_effect,
            "reference_rows": self.reference.rows,
            "new_rows": self.new.rows,
            "joint": None if self.joint is None else asdict(self.joint),
            "findings": [asdict(finding) for finding in self.findings],
        }

    def summary(self) -> dict[str, Any]:
        """Return the decision with the p-values of the leading findings, as bounded JSON values.

        Drift comes first, then the smallest p-values; at most 50 findings.
        """
        tested = [f for f in self.findings if not f.drift and f.adjusted is not None]
        tested.sort(key=lambda f: 1.0 if f.adjusted is None else f.adjusted)
        leading = [*self.drifted, *tested][:IN_SUMMARY]
        return {
            "drift": self.drift,
            "verdict": well_formed(self.verdict),
            "alpha": self.alpha,
            "rows": self.new.rows,
            "joint": None if self.joint is None else self.joint.p_value,
            "findings": [
                {
                    "column": one_line(f.column)[:200],
                    "role": f.role,
                    "what": f.what,
                    "adjusted": f.adjusted,
                    "effect": f.effect,
                    "drift": f.drift,
                }
                for f in leading
            ],
        }

    def to_json(self) -> str:
        """Return the report as strict JSON, without the profiles."""
        return json.dumps(self.to_dict(), allow_nan=False, indent=2)

    def to_html(self) -> str:
        """Return the report as one HTML page with plots, which needs no other file."""
        from tuner.drift.page import render

        return render(self)

    def save(self, path: str | Path) -> Path:
        """Write the HTML page to a file, replaced if it exists, and return its path.

        Raises
        ------
        ExportError
            If the file cannot be written.
        """
        page = well_formed(self.to_html())
        try:
            Path(path).write_text(page, encoding="utf-8")
        except OSError as error:
            raise ExportError(
                f"drift report: cannot write {str(path)!r}: {error.strerror or error}; give a file "
                f"in an existing folder that you may write to"
            ) from error
        return Path(path)


_HEADER = ("column", "what", "test", "effect", "p adjusted", "", "note")


def _row(finding: Finding) -> tuple[str, ...]:
    return (
        one_line(finding.column),
        finding.what if finding.role == "feature" else f"{finding.role} {finding.what}",
        finding.test or "",
        "" if finding.effect is None else f"{finding.effect:.3f}",
        "" if finding.adjusted is None else f"{finding.adjusted:.2g}",
        "drift" if finding.drift else "",
        one_line(finding.note),
    )


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
