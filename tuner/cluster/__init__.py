"""A Ray cluster as people have one: start it, look at it, send a sweep to it.

Searching on it is `tuner.backends.RayBackend`; the commands are `tuner cluster`, `tuner submit` and
`tuner job`.
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
