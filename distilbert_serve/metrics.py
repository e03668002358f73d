"""The metrics of a server, for Prometheus."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
FRACTIONS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1)


class Metrics:
    """The metrics of one server. `model` is the name of a model.

    Example:
        >>> from distilbert_serve.metrics import Metrics
        >>> metrics = Metrics()
        >>> metrics.requests.labels("/predict", "POST", "200").inc()
        >>> b'distilbert_requests_total{method="POST",route="/predict",status="200"} 1.0' in metrics.text()
        True
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        seconds = partial(histogram, buckets=SECONDS)
        model = ("model",)
        self.requests = counter("distilbert_requests", "Answered requests", ("route", "method", "status"))
        self.seconds = seconds("distilbert_request_seconds", "Seconds from a request to its answer", ("route",))
        self.tokens = counter("distilbert_tokens", "Tokens that a model has computed", model)
        self.fill = histogram(
            "distilbert_batch_fill", "Tokens of a batch, divided by the budget", model, buckets=FRACTIONS
        )
        self.queue_seconds = seconds(
            "distilbert_queue_seconds", "Seconds from the tokens of a request to its first batch", model
        )
        self.model_seconds = seconds("distilbert_model_seconds", "Seconds that a model computes a batch", model)
        self.waiting = Gauge("distilbert_waiting_tokens", "Tokens that wait for a model", model, registry=self.registry)

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
