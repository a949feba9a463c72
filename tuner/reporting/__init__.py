"""A study as one HTML file that can be handed on."""

from __future__ import annotations

from tuner.reporting.report import render_report, write_report

__all__ = ["render_report", "write_report"]
