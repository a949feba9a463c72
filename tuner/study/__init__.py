"""Studies: create, run, load and export them, and register their winners."""

from tuner.study.study import Study

__all__ = ["Study"]
