"""Counters for ``/metrics``, in Prometheus' text format, with a registry of their own.

In: finished requests, settlements, batches, failures of the cache. Out: the text page.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """What is counted."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "teacher_requests", "Requests answered", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "teacher_request_seconds", "Time to answer", ["route"], buckets=_SECONDS, registry=self._registry
        )
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._charged = Counter("teacher_queries_charged", "Descriptors paid for", registry=self._registry)
        self._replayed = Counter("teacher_queries_replayed", "Descriptors repeated", registry=self._registry)
        self._batch = Histogram(
            "teacher_batch_images", "Images in one batch", buckets=_IMAGES, registry=self._registry
        )
        self._network_s = Counter("teacher_network_seconds", "Time in the network", registry=self._registry)
        self._cache_errors = Counter(
            "teacher_cache_errors", "Failures of the cache and damaged entries", registry=self._registry
        )
        self._queued = Gauge("teacher_images_queued", "Images waiting or in work", registry=self._registry)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        children = self._children.get((route, status))
        if children is None:  # kept, as looking them up by labels costs more than counting
            children = self._requests.labels(route, status), self._seconds.labels(route)
            self._children[route, status] = children
        children[0].inc()
        children[1].observe(seconds)

    def settled(self, charged: int, replayed: int) -> None:
        """A request was charged."""
        self._charged.inc(charged)
        self._replayed.inc(replayed)

    def batch(self, images: int, seconds: float) -> None:
        """The network has seen a batch."""
        self._batch.observe(images)
        self._network_s.inc(seconds)

    def cache_failed(self) -> None:
        """The cache did not answer, or what it held was damaged."""
        self._cache_errors.inc()

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Read the queue's length whenever the page is asked for."""
        self._queued.set_function(length)

    def page(self) -> bytes:
        """The page of ``/metrics``."""
        return generate_latest(self._registry)
