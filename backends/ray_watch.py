"""Looks now and then how the cluster stands: whether its head answers, how many workers fit."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from tuner.backends.ray_cluster import Cluster
from tuner.backends.resources import fitting_workers
from tuner.errors import BackendError, ResourcesError

INTERVAL = 3.0
"""Seconds between looks."""

HEAD_LOST = 30.0
"""Seconds for which the head may be silent; after 60 Ray itself ends this whole process."""


class ClusterWatch:
    """How the cluster of a study stands.

    Parameters
    ----------
    cluster
        The cluster.
    workers
        How many workers are wanted, None for as many as fit on the nodes there are.
    needs
        What each takes of its node, by Ray's names.

    Attributes
    ----------
    size
        How many workers there should be now.
    head_lost
        Whether the head of the cluster is gone.

    Raises
    ------
    ResourcesError
        If they do not fit.
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
        """Look again, if it is time to, at `now` (seconds).

        Raises
        ------
        BackendError
            If the head has been silent for too long.
        """
        if now < self._due:
            return
        self._due = now + INTERVAL
        if not self._cluster.head_answers():
            # Counted in looks, as this process may itself have slept in between.
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
            # With no node left that holds a worker, those that are missing wait for one.
            with suppress(ResourcesError):
                self.size = fitting_workers(None, self._needs, self._cluster.nodes())
