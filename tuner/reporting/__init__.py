"""Reports: a study as one self-contained HTML file, and as a short one for a notebook."""

from __future__ import annotations

from tuner.reporting.report import Report, render_report, write_report

__all__ = ["Report", "render_report", "write_report"]
