"""Prometheus metrics at /metrics: requests, where their time went, what was answered, and what it is compared with.

One process serves them (gunicorn.conf.py), so the library's plain registry is enough. Everything that can be counted is
there from the start with a zero: a rate over a series that has just appeared would miss its first events.
"""

import contextlib
import time
from typing import Final, cast

from flask import Flask, Response, current_app, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from gateway.drift import LABELS, Expectation
from gateway.problems import KINDS, Problem
from gateway.recent import Recent
from gateway.torchserve import Prediction, TorchServe

METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
STAGES: Final = ("queue", "decode", "network", "explain")
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
SCORES: Final = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)

LEARN_SECONDS: Final = 1.0
"""That TorchServe may take to say what the model is."""
LEARN_EVERY_SECONDS: Final = 5.0
"""Until it is asked anew where it did not."""


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
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_progress = Gauge(
            "gateway_posts_in_progress",
            "POSTs that are being answered or wait for a thread; worker.py knows.",
            registry=self.registry,
        )
        self.stages = Histogram(
            "gateway_stage_seconds",
            "Time of an answered picture by what it went into; queue is the wait for a worker and the way to it.",
            ["stage"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch_sizes = Histogram(
            "gateway_batch_size",
            "Pictures that the handler had at once, for each of them that was answered.",
            buckets=BATCH_SIZES,
            registry=self.registry,
        )
        self.predictions = Counter(
            "gateway_predictions",
            "Pictures answered, by class and scope.",
            ["label", "in_scope"],
            registry=self.registry,
        )
        self.scores = Histogram(
            "gateway_prediction_score",
            "Scores of the classes that were answered.",
            buckets=SCORES,
            registry=self.registry,
        )
        self.problems = Counter("gateway_problems", "Pictures not answered, by kind.", ["kind"], registry=self.registry)
        self.model = Gauge(
            "gateway_model_info",
            "Always 1; the model that answered last.",
            ["version", "sha256"],
            registry=self.registry,
        )
        self.expected_shares = Gauge(
            "gateway_validation_label_share",
            "Share of validation pictures that the model answered with each class.",
            ["label"],
            registry=self.registry,
        )
        self.expected_scores = Gauge(
            "gateway_validation_score_share",
            "Share of validation pictures whose answer's score was at most le.",
            ["le"],
            registry=self.registry,
        )
        # Without labels it would show 0 until the first answer, which is no figure of any model.
        self.expected = Gauge(
            "gateway_validation_mean",
            "Means over validation pictures: of the score, and of being out of scope.",
            ["of"],
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        self.answered_last: Prediction | None = None
        self.expected_of = ""
        self.learn_from = 0.0  # on the monotonic clock
        self.expectation: Expectation | None = None
        self.engine: dict[str, str] | None = None
        self.recent = Recent()
        for stage in STAGES:
            self.stages.labels(stage)
        for label in LABELS:
            for in_scope in ("true", "false"):
                self.predictions.labels(label, in_scope)
        for kind in KINDS:
            if ":" not in kind:  # another wording of a kind that is there
                self.problems.labels(kind)

    def count_answer(self, prediction: Prediction, *, is_default: bool = True) -> None:
        """Count a picture that was answered, by the default version or by one on trial."""
        answer = prediction.answer
        self.predictions.labels(answer["label"], str(answer["in_scope"]).lower()).inc()
        self.scores.observe(answer["score"])
        for stage in STAGES:
            if stage in prediction.stages:
                self.stages.labels(stage).observe(prediction.stages[stage])
        if prediction.batch_size:
            self.batch_sizes.observe(prediction.batch_size)
        self.recent.count_answer(answer["label"], answer["score"], in_scope=answer["in_scope"])
        if is_default:
            self.answered_last = prediction

    def count_problem(self, kind: str, number: int = 1) -> None:
        """Count pictures that were not."""
        self.problems.labels(kind).inc(number)

    def learn_of(self, prediction: Prediction) -> None:
        """Have the figures of the model that made a prediction, asking TorchServe once for each model.

        Whoever wants the counts does not wait long for them, and not every time, where TorchServe says nothing.
        """
        now = time.monotonic()
        if prediction.sha256 == self.expected_of or now < self.learn_from:
            return
        self.learn_from = now + LEARN_EVERY_SECONDS
        torchserve = cast(TorchServe, current_app.extensions["torchserve"])
        with contextlib.suppress(Problem):  # then the next time
            self._expect(torchserve.manifest(g.request_id, until=now + LEARN_SECONDS, once=True))
            self.learn_from = now

    def _expect(self, manifest: Prediction) -> None:
        """Show what the model's manifest says of validation pictures; one without such figures shows none."""
        self.model.clear()
        self.model.labels(manifest.version, manifest.sha256).set(1)
        self.expected_of, self.engine = manifest.sha256, manifest.answer.get("engine")
        self.expectation = None
        for gauge in (self.expected_shares, self.expected, self.expected_scores):
            gauge.clear()
        try:
            expectation = Expectation.of(manifest.answer)
        except KeyError:
            return
        for label, share in expectation.label_shares.items():
            self.expected_shares.labels(label).set(share)
        self.expected.labels("score").set(expectation.score)
        self.expected.labels("out_of_scope").set(expectation.out_of_scope_share)
        for score in SCORES:  # named as the histogram's buckets are
            self.expected_scores.labels(str(float(score))).set(expectation.share_up_to(score))
        self.expectation = expectation


def init_app(app: Flask) -> None:
    """Count every request and serve the counts."""
    metrics = Metrics()
    app.extensions["metrics"] = metrics

    def count(response: Response) -> Response:
        # Neither path nor method as they came: they are the sender's to choose, and each would be a series for ever.
        route = request.url_rule.rule if request.url_rule else "none"
        method = request.method if request.method in METHODS else "other"
        metrics.requests.labels(method, route, str(response.status_code)).inc()
        seconds = time.perf_counter() - g.started
        metrics.seconds.labels(route).observe(seconds)
        if request.method == "POST" and request.blueprint in ("api", "kserve", "page"):
            metrics.recent.count_request(response.status_code, seconds)
            if problem := g.get("problem"):
                metrics.recent.count_problem(problem)
        return response

    def expose() -> Response:
        if metrics.answered_last:
            metrics.learn_of(metrics.answered_last)
        return Response(generate_latest(metrics.registry), content_type=CONTENT_TYPE_LATEST)

    app.after_request(count)
    app.add_url_rule("/metrics", "metrics", expose)
