"""Prometheus metrics at /metrics: requests, their time, and what was answered.

One process serves them (gunicorn.conf.py), so the library's plain registry is enough.
"""

import time
from typing import Any

from flask import Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest


class Metrics:
    """The gateway's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "gateway_requests", "Requests by route and status.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "gateway_request_seconds",
            "Time from reading a request's head to having its answer.",
            ["route"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )
        self.predictions = Counter(
            "gateway_predictions",
            "Pictures answered, by class and scope.",
            ["label", "in_scope"],
            registry=self.registry,
        )
        self.problems = Counter("gateway_problems", "Pictures not answered, by kind.", ["kind"], registry=self.registry)

    def count_answer(self, answer: dict[str, Any]) -> None:
        """Count a picture that was answered."""
        self.predictions.labels(answer["label"], str(answer["in_scope"]).lower()).inc()

    def count_problem(self, kind: str) -> None:
        """Count a picture that was not."""
        self.problems.labels(kind).inc()


def init_app(app: Flask) -> None:
    """Count every request and serve the counts."""
    metrics = Metrics()
    app.extensions["metrics"] = metrics

    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "none"  # not the path: it is the sender's to choose
        metrics.requests.labels(request.method, route, str(response.status_code)).inc()
        metrics.seconds.labels(route).observe(time.perf_counter() - g.started)
        return response

    def expose() -> Response:
        return Response(generate_latest(metrics.registry), content_type=CONTENT_TYPE_LATEST)

    app.after_request(count)
    app.add_url_rule("/metrics", "metrics", expose)
