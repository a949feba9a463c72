"""Check the cluster periodically: whether its head answers, and how many workers fit."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from tuner.backends.ray_cluster import Cluster
from tuner.backends.resources import fitting_workers
from tuner.errors import BackendError, ResourcesError

INTERVAL = 3.0
"""Seconds between checks."""

HEAD_LOST = 30.0
"""Seconds that the head may be silent; after 60 s Ray itself ends this whole process."""


class ClusterWatch:
    """The state of the cluster of a study.

    Parameters
    ----------
    cluster
        The cluster.
    workers
        Requested number of workers; None for as many as fit on the current nodes.
    needs
        Resources of each worker, under Ray's names.

    Attributes
    ----------
    size
        Current target number of workers.
    head_lost
        Whether the head of the cluster is lost.

    Raises
    ------
    ResourcesError
        If the workers do not fit.
    """

    def __init__(
        self, cluster: Cluster, workers: int | None, needs: Mapping[str, float], now: float
    ) -> None:
        self._cluster = cluster
        self._workers = workers
        self._needs = needs
        self._due = now + INTERVAL
        self._unheard = 0.0
        self.head_lost = False
        self.size = fitting_workers(workers, needs, cluster.nodes())

    def look(self, now: float) -> None:
        """Check the cluster at `now` (seconds) if a check is due.

        Raises
        ------
        BackendError
            If the head has been silent for too long.
        """
        if now < self._due:
            return
        self._due = now + INTERVAL
        if not self._cluster.head_answers():
            # Count checks, not time: this process may itself have been suspended.
            self._unheard += INTERVAL
            if self._unheard > HEAD_LOST:
                self.head_lost = True
                raise BackendError(
                    f"the head of the Ray cluster at {self._cluster.head} has not answered for "
                    f"{HEAD_LOST:g} s; what trials have told is recorded: make the same call "
                    f"again when there is a cluster, and the study goes on"
                )
            return
        self._unheard = 0.0
        if self._workers is None:
            # If no node can host a worker, missing workers wait for a new node.
            with suppress(ResourcesError):
                self.size = fitting_workers(None, self._needs, self._cluster.nodes())
