"""TorchServe's handler for the classifier: one picture a request, raw body or form field `data`.

/predictions answers with the classification, /explanations adds which parts of the picture spoke for the class, and a
request with the header `X-Model-Manifest: true` gets the manifest of the weights that answer here. The header
`X-Picture-Lengths` makes a body several pictures, answered by as many entries of a list; `X-Request-ID` may then have
an id for each, separated by commas. A body of JSON is read as KServe's (kserve.py), unless it is said to be
application/octet-stream.

TorchServe loads a handler file that defines exactly one class, so helpers live in `model/`. A picture that cannot be
answered costs its own slot of the batch only: an exception out of `handle` would fail all of them.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psutil
from PIL import Image

from handler.engine import open_engine
from handler.kserve import MOST_PICTURES, KServeError, KServeRequest
from handler.limits import Alarm, OutOfTimeError, limit_memory
from model.classifier import AT_ONCE, Classifier
from model.images import ImageError, Square, TooCostlyError
from model.labels import LABELS
from model.manifest import Manifest

if TYPE_CHECKING:
    from model.explain import Explainer

STAGES: Final = ("decode", "network", "explain")
"""What a batch goes through; the Server-Timing header (W3C) tells the gateway how long each took."""

LENGTHS_HEADER: Final = "X-Picture-Lengths"
"""Says of a body that it is several pictures, one after the other: their lengths in bytes, separated by commas."""
OCTETS: Final = "application/octet-stream"

PICTURE_SECONDS: Final = 3.0
"""For decoding one picture; phones' photographs take a tenth of a second, the slowest that is honest (WebP) two."""
BATCH_SECONDS: Final = 7.0
"""For decoding all of a batch: TorchServe kills a worker that says nothing for ten (responseTimeout)."""
COMPUTE_SECONDS: Final = 8.0
"""From the batch's beginning; no part of it is computed or explained after that, for the same reason."""
MORE_BYTES: Final = 1_000_000_000
"""That a batch may take beside what the worker holds before it; 50 megapixels of WebP take 800 MB."""

Slot = Square | dict[str, Any]

# Seconds between two reports of what this process uses: each is a line for the JVM to read and parse.
REPORT_EVERY: Final = 10.0


class ClassifierHandler:
    """Answers pictures with class, calibrated scores and scope."""

    def __init__(self) -> None:
        self.log = logging.getLogger("classifier")
        self.explainer: Explainer | None = None
        self.explain_seconds = 0.0  # that the last one took
        self.process = psutil.Process()
        self.cpu_seconds = 0.0
        self.reported = -REPORT_EVERY
        self.alarm = Alarm()

    def initialize(self, context: Any) -> None:
        """Load the weights that came in the archive, and do everything once so that the first request is not slow.

        Raises:
            WeightsError: the weights are not those of the manifest; TorchServe then reports the worker as failed.
        """
        folder = Path(context.system_properties["model_dir"])
        self.manifest = Manifest.read(folder / "manifest.json")
        settings = context.model_yaml_config["handler"]
        self.name = context.manifest["model"]["modelName"]
        weights = folder / context.manifest["model"]["serializedFile"]
        engine, reason = open_engine(weights, self.manifest, int(settings["threads"]), settings["engine"])
        self.engine = {"name": engine.name} | ({"fallback": reason} if reason else {})
        self.classifier = Classifier(engine, self.manifest)
        Image.init()  # loads the decoders
        self.classifier.classify([Square(np.zeros((3, engine.side, engine.side), np.uint8), engine.side)] * AT_ONCE)

        # TorchServe's worker logs two lines for every batch at INFO, which the JVM reads, parses and logs again;
        # one line of our own for each request says more.
        logging.getLogger().setLevel(logging.WARNING)
        lines = logging.StreamHandler(sys.stdout)
        lines.setFormatter(logging.Formatter("%(message)s"))
        self.log.addHandler(lines)
        self.log.setLevel(logging.INFO)
        self.log.propagate = False
        self.log.info(json.dumps({"event": "model_loaded", "version": self.manifest.version, "engine": self.engine}))
        # Metrics are such lines as well; the one that TorchServe writes for every batch says less than Server-Timing.
        metrics = logging.getLogger("ts.metrics.caching_metric")
        metrics.setLevel(logging.INFO)
        metrics.addFilter(lambda record: not record.getMessage().startswith("[METRICS]PredictionTime"))

    def handle(self, rows: list[dict[str, Any]], context: Any) -> list[bytes]:
        """Answer every row with JSON: what it asks for, or a problem with its own status."""
        limit_memory(MORE_BYTES)  # at every batch: what stays, as torch for explanations does, takes from no later one
        times = [time.perf_counter()]
        self.decoded_by, self.computed_by = times[0] + BATCH_SECONDS, times[0] + COMPUTE_SECONDS
        kserve: dict[int, KServeRequest] = {}
        explained: set[int] = set()
        read = [self._read(row, index, context, kserve) for index, row in enumerate(rows)]
        times.append(time.perf_counter())
        slots = [slot for each in read for slot in (each if isinstance(each, list) else [each])]
        good = [slot for slot in slots if isinstance(slot, Square)]
        answers = iter(self._answers(good))
        times.append(time.perf_counter())
        answered = iter([slot if isinstance(slot, dict) else next(answers) for slot in slots])
        replies = [[next(answered) for _ in each] if isinstance(each, list) else next(answered) for each in read]
        for index, (slot, reply) in enumerate(zip(read, replies, strict=True)):
            if not _is_to_be_explained(context, index):
                continue
            # Of several there is one: more are refused.
            picture, answer = (slot[0], reply[0]) if isinstance(slot, list) else (slot, reply)  # type: ignore[index]
            if isinstance(picture, Square) and isinstance(answer, dict) and "label" in answer:
                self._explain(picture, answer)
                explained.add(index)
        times.append(time.perf_counter())

        # Every request of a batch waits for all of it, so these are the times of each of them.
        stages = {
            stage: round((end - start) * 1000, 2)
            for stage, start, end in zip(STAGES, times[:-1], times[1:], strict=True)
            if stage != "explain" or explained
        }
        batch = {"batch_size": len(slots)} | {f"batch_{stage}_ms": took for stage, took in stages.items()}
        for index, reply in enumerate(replies):
            if _header(context, index, "X-Probe") != "true":  # one every second would bury the rest
                replied = reply if isinstance(reply, list) else [reply]
                for request_id, each in zip(_request_ids(index, context, len(replied)), replied, strict=True):
                    self._log(request_id, each, batch)
            if (request := kserve.get(index)) and isinstance(reply, list):
                names = (self.name, self.manifest.version)
                replies[index] = request.answer(reply, *names, explained=index in explained)
            self._describe(index, context, replies[index], stages, len(slots))
        self._report_process(context)
        return [json.dumps(reply).encode() for reply in replies]

    def _read(
        self, row: dict[str, Any], index: int, context: Any, kserve: dict[int, KServeRequest]
    ) -> Slot | list[Slot]:
        """Give the row's input to the network, or at once what answers it: the manifest, or the problem it has.

        A row may have several pictures, which is much cheaper than as many requests; these each have their slot. A
        row of KServe's is put into `kserve`, by its index.
        """
        if _header(context, index, "X-Model-Manifest") == "true":
            return self.manifest.document | {"engine": self.engine}
        data = row.get("body", row.get("data"))
        if not isinstance(data, bytes | bytearray):
            return self._problem(
                400,
                "no-image",
                "There is no image in the request",
                "Send the picture as the body (Content-Type: application/octet-stream) or as the form field data.",
            )
        lengths = _header(context, index, LENGTHS_HEADER)
        if lengths is None:
            # Bytes that are said to be nothing else, as the gateway's are, and a form's field are pictures.
            may_be_json = "body" in row and _header(context, index, "Content-Type") != OCTETS
            return self._read_body(data, index, context, kserve) if may_be_json else self._read_picture(data)
        try:
            parts = list(_parts(data, lengths, 1 if _is_to_be_explained(context, index) else MOST_PICTURES))
        except ValueError as error:
            return self._problem(400, "bad-request", "The pictures cannot be told apart", str(error))
        return [self._read_picture(part) for part in parts]

    def _read_body(
        self, data: bytes | bytearray, index: int, context: Any, kserve: dict[int, KServeRequest]
    ) -> Slot | list[Slot]:
        try:
            request = KServeRequest.read(data, one=_is_to_be_explained(context, index))
        except KServeError as error:
            problem = self._problem(400, "bad-request", "The request cannot be read", str(error))
            return problem | {"error": str(error)}
        if request is None:
            return self._read_picture(data)
        kserve[index] = request
        return [self._read_picture(picture) for picture in request.pictures]

    def _read_picture(self, data: bytes | bytearray) -> Slot:
        """Decode one picture within half of the time that is left, so that some is left for every other one."""
        left = (self.decoded_by - time.perf_counter()) / 2
        try:
            if left <= 0:
                raise OutOfTimeError
            return self.alarm.run(min(PICTURE_SECONDS, left), lambda: self.classifier.read(data))
        except OutOfTimeError:
            if left < PICTURE_SECONDS:  # its neighbours in the batch took the rest
                return self._busy()
            error = TooCostlyError()
            return self._problem(error.status, error.kind, error.title, str(error))
        except ImageError as error:
            return self._problem(error.status, error.kind, error.title, str(error)) | error.facts

    def _answers(self, pictures: list[Square]) -> list[dict[str, Any]]:
        """Answer pictures in parts, and refuse those that no time is left for."""
        answers: list[dict[str, Any]] = []
        for start in range(0, len(pictures), AT_ONCE):
            part = pictures[start : start + AT_ONCE]
            if time.perf_counter() < self.computed_by:
                answers += self.classifier.classify(part)
            else:
                answers += [self._busy() for _ in part]
        return answers

    def _explain(self, picture: Square, answer: dict[str, Any]) -> None:
        """Add the explanation to a picture's answer, or make it a refusal where less time is left than one takes."""
        began = time.perf_counter()
        if began + self.explain_seconds >= self.computed_by:
            answer.clear()
            answer |= self._busy()
            return
        if self.explainer is None:
            from model.explain import Explainer  # noqa: PLC0415  # brings torch along, which answering can do without

            self.explainer = Explainer(self.classifier.engine)
        answer["explanation"] = {
            "label": answer["label"],
            "method": self.explainer.method,
            "region": {edge: round(share, 4) for edge, share in asdict(picture.region).items()},
            "strengths": self.explainer.strengths(picture.pixels, LABELS.index(answer["label"])),
        }
        self.explain_seconds = time.perf_counter() - began

    def _busy(self) -> dict[str, Any]:
        return self._problem(503, "model-unavailable", "The model is not available", "It is busy. Try again.")

    def _problem(self, status: int, kind: str, title: str, detail: str) -> dict[str, Any]:
        return {"type": f"/problems/{kind}", "title": title, "status": status, "detail": detail}

    def _describe(
        self,
        index: int,
        context: Any,
        reply: dict[str, Any] | list[dict[str, Any]],
        stages: dict[str, float],
        batch_size: int,
    ) -> None:
        """Set the row's status and headers."""
        content_type = "application/json"
        if isinstance(reply, dict) and "status" in reply:
            context.set_response_status(reply["status"], reply["title"], index)
            content_type = "application/problem+json"
        context.set_response_content_type(index, content_type)
        context.set_response_header(index, "X-Model-Version", self.manifest.version)
        context.set_response_header(index, "X-Model-SHA256", self.manifest.sha256)
        context.set_response_header(index, "X-Batch-Size", str(batch_size))
        timing = ", ".join(f"{stage};dur={milliseconds:g}" for stage, milliseconds in stages.items())
        context.set_response_header(index, "Server-Timing", timing)

    def _log(self, request_id: str, reply: dict[str, Any], batch: dict[str, float]) -> None:
        """Write one JSON line: what was answered and how long the whole batch took; nothing of the picture itself."""
        line = {
            "event": "explanation" if "explanation" in reply else "prediction",
            "request_id": request_id,
            "status": reply.get("status", 200),
            "label": reply.get("label"),
            "score": reply.get("score"),
            "in_scope": reply.get("in_scope"),
            "problem": reply.get("type"),
        }
        self.log.info(json.dumps({name: value for name, value in line.items() if value is not None} | batch))

    def _report_process(self, context: Any) -> None:
        """Put what this worker uses of CPU and memory on TorchServe's /metrics, which knows only the machine's."""
        if time.monotonic() - self.reported < REPORT_EVERY:
            return
        self.reported = time.monotonic()
        used = self.process.cpu_times()
        cpu_seconds, before = used.user + used.system, self.cpu_seconds
        self.cpu_seconds = cpu_seconds
        # The JVM adds up what the workers report of a counter; of a gauge it keeps the last, and workers are alike.
        context.metrics.add_counter("worker_cpu_seconds_total", cpu_seconds - before)
        context.metrics.add_size("worker_resident_memory_bytes", self.process.memory_info().rss, unit="B")


def _header(context: Any, index: int, name: str) -> str | None:
    """Give a header of a request, in whatever case its sender wrote the name; None where there is none.

    TorchServe has names as they came, and puts a form's fields among them, which are no text. A header of its own, such
    as `explain`, is found by its very name before one that a sender wrote otherwise.
    """
    headers = context.get_all_request_header(index)
    named = (name, *(given for given in headers if given.lower() == name.lower()))
    return next((value for each in named if isinstance(value := headers.get(each), str)), None)


def _is_to_be_explained(context: Any, index: int) -> bool:
    """Say whether a request came to /explanations, of which TorchServe tells by a header of its own."""
    return _header(context, index, "explain") == "True"


def _request_ids(index: int, context: Any, pictures: int) -> list[str]:
    """Give the id of the request that each of a row's pictures came with; the gateway joins those of several."""
    given = _header(context, index, "X-Request-ID") or context.get_request_id(index)
    each = given.split(",")
    return each if len(each) == pictures else [given] * pictures


def _parts(data: bytes | bytearray, lengths: str, most: int) -> Iterator[bytes]:
    """Take a body apart.

    Raises:
        ValueError: the lengths are no numbers, too many, or do not add up to the body.
    """
    numbers = [int(each) for each in lengths.split(",") if each.isdecimal() and len(each) < 10]
    if len(numbers) != len(lengths.split(",")) or len(numbers) > most or sum(numbers) != len(data):
        raise ValueError(
            f"{LENGTHS_HEADER} must have the lengths of the pictures, {most} at most here, and add up to the body's "
            f"{len(data)} bytes."
        )
    start = 0
    for number in numbers:
        yield bytes(data[start : start + number])
        start += number
