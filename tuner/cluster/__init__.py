"""Start a Ray cluster, check it, and submit a sweep to it.

`tuner.backends.RayBackend` runs searches on it; the commands are `tuner cluster`, `tuner submit`
and `tuner job`.
"""

from __future__ import annotations

from tuner.cluster.check import ClusterReport, NodeReport, check
from tuner.cluster.jobs import JobClient, JobEnd
from tuner.cluster.launch import Head, join, start_head
from tuner.cluster.sweep import Sweep

__all__ = [
    "ClusterReport",
    "Head",
    "JobClient",
    "JobEnd",
    "NodeReport",
    "Sweep",
    "check",
    "join",
    "start_head",
]
