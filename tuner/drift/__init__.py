"""Drift: whether new data differs from a reference, column by column and jointly.

`Profile` describes a table in a small JSON document, and `compare` tests two of them.
"""

from __future__ import annotations

from tuner.drift.comparison import compare
from tuner.drift.models import check_model
from tuner.drift.report import DriftReport, Finding, JointFinding
from tuner.profiles import Column, Profile, Quality

__all__ = [
    "Column",
    "DriftReport",
    "Finding",
    "JointFinding",
    "Profile",
    "Quality",
    "check_model",
    "compare",
]
