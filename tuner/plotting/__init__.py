"""Plots of a study, drawn from its records: one file per plot, and `Plots` for all of them.

Matplotlib is imported when a plot is drawn, not with this package.
"""

from tuner.plotting.plots import Plots

__all__ = ["Plots"]
