"""Conformance suites for implementations of `tuner`'s protocols, to run with pytest.

Subclass a suite in a test module, and define `make`; pytest collects the inherited tests::

    from tuner.testing import OptimizerConformance

    class TestMyOptimizer(OptimizerConformance):
        def make(self):
            return MyOptimizer()

The suites need the extra ``tuner[testing]``, which installs pytest and Hypothesis.
"""

from __future__ import annotations

from tuner.errors import MissingExtra

try:
    import hypothesis  # noqa: F401
    import pytest
except ModuleNotFoundError as error:
    raise MissingExtra(
        f"tuner.testing needs {error.name}, which is not installed; "
        f"run: pip install 'tuner[testing]'"
    ) from error

# Failed assertions of the suites show their values, as assertions of a test module do.
pytest.register_assert_rewrite(
    *(f"tuner.testing.{name}" for name in ("backends", "domains", "model_formats")),
    *(f"tuner.testing.{name}" for name in ("optimizers", "pausing", "schedulers", "scripted_jobs")),
)

from tuner.testing.backends import BackendConformance, IsolatingBackendConformance  # noqa: E402
from tuner.testing.domains import DomainConformance  # noqa: E402
from tuner.testing.model_formats import ModelFormatConformance  # noqa: E402
from tuner.testing.optimizers import OptimizerConformance  # noqa: E402
from tuner.testing.pausing import PausingSchedulerConformance  # noqa: E402
from tuner.testing.schedulers import SchedulerConformance  # noqa: E402

__all__ = [
    "BackendConformance",
    "DomainConformance",
    "IsolatingBackendConformance",
    "ModelFormatConformance",
    "OptimizerConformance",
    "PausingSchedulerConformance",
    "SchedulerConformance",
]
