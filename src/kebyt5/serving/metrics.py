"""Metrics for Prometheus."""

from collections.abc import Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kebyt5.serving.protocol import Service
from kebyt5.serving.service import LocalService

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120)


class Metrics:
    """The metrics of one app.

    Args:
        services: The models by name.
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "kebyt5_requests",
            "Requests by route and status; 499: the client left.",
            ["route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "kebyt5_request_seconds",
            "Seconds from the head of a request to the end of its response.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.first_text_seconds = Histogram(
            "kebyt5_first_text_seconds",
            "Seconds from the head of a streamed request to the first characters.",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.bytes = Counter(
            "kebyt5_text_bytes",
            "Bytes of texts, in and out.",
            ["model", "direction"],
            registry=self.registry,
        )
        self.registry.register(Engines(services))


class Engines(Collector):
    """Collects the metrics of the engines in this process.

    Args:
        services: The models by name.
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = services

    def collect(self) -> Iterable[Metric]:
        """Reads the current metrics."""
        queue = GaugeMetricFamily(
            "kebyt5_queue", "Texts that are accepted and wait for a slot.", labels=["model"]
        )
        batch = GaugeMetricFamily(
            "kebyt5_batch", "Texts that are being worked on together.", labels=["model"]
        )
        passes = CounterMetricFamily(
            "kebyt5_decoder_passes", "Passes of finished texts through the decoder.",
            labels=["model"],
        )  # fmt: skip
        rows = CounterMetricFamily(
            "kebyt5_decoder_rows", "Byte positions the decoder computed for finished texts.",
            labels=["model"],
        )  # fmt: skip
        ids = CounterMetricFamily(
            "kebyt5_generated_ids",
            "Ids of finished texts: decided in a pass of their own, accepted from a guess, forced"
            " by a constraint.",
            labels=["model", "how"],
        )
        for name, service in self._services.items():
            if not isinstance(service, LocalService):
                continue
            places, statistics = service.places, service.worker.engine.statistics
            queue.add_metric([name], places.waiting)
            batch.add_metric([name], places.taken - places.waiting)
            passes.add_metric([name], statistics.passes)
            rows.add_metric([name], statistics.rows)
            for how in ("decided", "copied", "forced"):
                ids.add_metric([name, how], getattr(statistics, how))
        return [queue, batch, passes, rows, ids]
