"""A hyperparameter search with the interface of scikit-learn's own searches.

Importing this package imports scikit-learn.
"""

from tuner.sklearn.search import TunerSearchCV

__all__ = ["TunerSearchCV"]
