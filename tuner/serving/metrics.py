"""The metrics of a server, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from tuner.serving.following import Follower
    from tuner.serving.sampling import Sampler

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters and durations of requests, and the state of the served model."""

    def __init__(self, follower: Follower, sampler: Sampler | None) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        requests = Counter(
            "tuner_requests",
            "Requests of /predict by HTTP status.",
            ["status"],
            registry=self._registry,
        )
        self._requests = requests
        self._by_status = {status: requests.labels(str(status)) for status in (200, 422)}
        self.rows = Counter("tuner_rows", "Rows that were predicted.", registry=self._registry)
        self.seconds = Histogram(
            "tuner_request_seconds",
            "Seconds of a request of /predict.",
            buckets=_BOUNDS,
            registry=self._registry,
        )
        self.predict_seconds = Histogram(
            "tuner_predict_seconds",
            "Seconds in the model.",
            buckets=_BOUNDS,
            registry=self._registry,
        )
        self._registry.register(_State(follower, sampler))

    def count(self, status: int) -> None:
        """Count a request."""
        known = self._by_status.get(status)
        (known or self._requests.labels(str(status))).inc()

    def text(self) -> bytes:
        """Return all metrics as text."""
        return generate_latest(self._registry)


class _State:
    """The state of the follower and of the sampler when the metrics are read."""

    def __init__(self, follower: Follower, sampler: Sampler | None) -> None:
        self._follower, self._sampler = follower, sampler

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        follower, version = self._follower, self._follower.current.version
        info = GaugeMetricFamily(
            "tuner_model_info", "The served version.", labels=["model", "version"]
        )
        info.add_metric([version.name, str(version.version)], 1)
        yield info
        yield GaugeMetricFamily(
            "tuner_model_followed",
            "1 if the served version is the one of the alias, 0 if that cannot be loaded or found.",
            value=float(not follower.failure),
        )
        yield CounterMetricFamily(
            "tuner_model_swaps", "Exchanges of the served version.", value=follower.swaps
        )
        yield CounterMetricFamily(
            "tuner_model_failures", "Failed attempts to follow the alias.", value=follower.failures
        )
        if self._sampler is not None:
            yield CounterMetricFamily(
                "tuner_sampled_rows", "Rows that were written.", value=self._sampler.written
            )
            yield CounterMetricFamily(
                "tuner_sample_failures",
                "Samples that could not be written.",
                value=self._sampler.failed,
            )
