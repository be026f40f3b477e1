"""A gateway before a stand-in for TorchServe, for refusals and silence at will, which the real one gives seldom."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gateway import create_app
from gateway.settings import Settings
from model.manifest import Manifest

ANSWER: dict[str, Any] = {
    "filename": None,
    "label": "cat",
    "score": 0.9,
    "in_scope": True,
    "in_scope_score": 0.8,
    "scores": [{"label": "cat", "score": 0.9}, {"label": "dog", "score": 0.1}],
}
EXPLANATION = {
    "label": "cat",
    "method": "occlusion",
    "region": {"left": 0.1, "top": 0.0, "right": 0.9, "bottom": 1.0},
    "strengths": [[0.0, 1.0], [0.5, 0.25]],
}
PROBLEM = {
    "type": "/problems/damaged-image",
    "title": "Damaged",
    "status": 422,
    "detail": "in the handler's words",
    "format": "JPEG",
}


class TorchServeStandIn(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answering)
        self.key = "first"
        self.seen = []  # (authorization, request id, body)
        self.paths = []
        self.timing = "decode;dur=1.5, network;dur=20"
        self.script = []  # statuses to answer next; then 200
        self.versions = []  # versions to name next where none is asked for; then 7
        self.answers = {}  # by version asked for: members of its answer, a status, or an event to wait for
        self.sha256 = "abc"
        self.is_old = False  # as a version whose handler knows of one picture a request only
        self.silent = threading.Event()  # set: no answer until cleared
        self.open = threading.Event()  # cleared: answers wait until it is set
        self.open.set()


def parts(body, lengths):
    for length in map(int, lengths.split(",")):
        yield body[:length]
        body = body[length:]


class Answering(BaseHTTPRequestHandler):
    server: TorchServeStandIn
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        server.seen.append((self.headers["Authorization"], self.headers["X-Request-ID"], body))
        server.paths.append(self.path)
        server.open.wait(30)
        if server.silent.is_set():
            self.close_connection = True
            return None
        if self.headers["Authorization"] != f"Bearer {server.key}":
            return self.answer(400, {"code": 400, "type": "InvalidKeyException", "message": "Token is incorrect"})
        if body == b"bad":
            return self.answer(422, PROBLEM, "application/problem+json")
        if self.headers["X-Model-Manifest"] == "true":
            return self.answer(200, Manifest.read().document)
        if self.path.startswith("/explanations/"):
            return self.answer(200, ANSWER | {"explanation": EXPLANATION})
        return self.predict(body)

    def predict(self, body):
        script, lengths = self.server.script, self.headers["X-Picture-Lengths"]
        own = self.server.answers.get(self.path.rpartition("/")[2], {})
        if isinstance(own, threading.Event):
            own.wait(10)
            own = {}
        if status := own if isinstance(own, int) else script.pop(0) if script else 0:
            return self.answer(status, {"code": status, "message": "secret inner words"})
        answer = ANSWER | own
        if lengths and not self.server.is_old:
            return self.answer(200, [PROBLEM if part == b"bad" else answer for part in parts(body, lengths)])
        return self.answer(200, answer)

    def answer(self, status, value, content_type="application/json"):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        asked = self.path.split("/")[3:]
        versions = asked or self.server.versions
        self.send_header("X-Model-Version", versions.pop(0) if versions else "7")
        self.send_header("X-Model-SHA256", self.server.sha256)
        self.send_header("Server-Timing", self.server.timing)
        if not self.server.is_old:
            self.send_header("X-Batch-Size", "3")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def torchserve():
    server = TorchServeStandIn()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key_file.json"
    path.write_text(json.dumps({"inference": {"key": "first"}}))
    return path


@pytest.fixture
def make_app(torchserve, key_file):
    """Builds gateways with settings of their own before the one stand-in."""
    apps = []

    def make(**settings):
        defaults = {
            "torchserve_url": f"http://127.0.0.1:{torchserve.server_port}",
            "key_file": key_file,
            "trial_file": str(key_file.with_name("trial.json")),
            "answer_timeout_seconds": 2,
            "max_image_bytes": 10_000,
            "max_request_bytes": 50_000,
            "max_images": 4,
        }
        apps.append(create_app(Settings(**(defaults | settings))))
        return apps[-1]

    yield make
    for app in apps:
        app.extensions["torchserve"].pool.clear()


@pytest.fixture
def app(make_app):
    return make_app()


@pytest.fixture
def client(app):
    return app.test_client()
