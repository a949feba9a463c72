"""Reports: a study as one self-contained HTML file."""

from __future__ import annotations

from tuner.reporting.report import render_report, write_report

__all__ = ["render_report", "write_report"]
