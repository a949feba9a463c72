"""The names of the plots."""

KINDS = (
    "history",
    "parallel_coordinates",
    "importances",
    "slice",
    "contour",
    "rank",
    "edf",
    "learning_curves",
    "timeline",
    "pareto_front",
    "hypervolume",
)
"""The names of the plots, as methods and on the command line."""

OF_FRONTS = frozenset({"pareto_front", "hypervolume"})
"""The plots of a study with several goals."""

COMPARING = frozenset({"history", "edf", "pareto_front", "hypervolume"})
"""The plots that show several studies."""
