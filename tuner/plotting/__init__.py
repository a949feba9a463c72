"""Plots of a study, from its records alone: one file a plot, `Plots` for all of them.

Importing this package imports no matplotlib; drawing does.
"""

from tuner.plotting.plots import Plots

__all__ = ["Plots"]
