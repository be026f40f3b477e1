"""The load generator against a server whose answers are known."""

import contextlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.load import Outcome, Request, closed_loop, open_loop
from benchmarks.pictures import KINDS, form, pictures
from model.images import read_pixels


class Server(ThreadingHTTPServer):
    bodies: list[tuple[str, bytes, dict[str, str]]]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    disable_nagle_algorithm = True
    wait = 0.02

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append((self.path, body, dict(self.headers)))
        time.sleep(self.wait)
        self.send_response(503 if self.path == "/full" else 200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (b"4\r\nmuch\r\n", b"5\r\n more\r\n", b"0\r\n\r\n"):
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.wfile.write(piece)
                    time.sleep(self.wait / 10)
            return
        if self.path == "/full":
            self.send_header("Connection", "close")
        self.send_header("Content-Length", "5000")
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the load ends in the midst of an answer
            self.wfile.write(b"x" * 5000)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as server:
        server.bodies = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_closed_loop_keeps_every_connection_busy(server):
    measured = closed_loop(Request.post(f"{server.url}/ok", b"picture", {"X-One": "1"}), 4, 1.0)
    assert measured.errors == 0
    assert 20 <= measured.rate <= 4 / Handler.wait
    assert measured.percentile(0.5) >= 1000 * Handler.wait
    path, body, headers = server.bodies[0]
    assert (path, body, headers["X-One"]) == ("/ok", b"picture", "1")


def test_a_closed_loop_can_wait_for_what_is_under_way(server, monkeypatch):
    monkeypatch.setattr(Handler, "wait", 1.0)
    request = Request.post(f"{server.url}/ok", b"p", {})
    began = time.perf_counter()
    measured = closed_loop(request, 2, 0.1, wait=True)
    assert time.perf_counter() - began >= Handler.wait
    assert measured.latencies == []
    assert measured.seconds < Handler.wait
    began = time.perf_counter()
    closed_loop(request, 2, 0.1)
    assert time.perf_counter() - began < Handler.wait


def test_an_answer_in_chunks_is_whole_with_the_last(server):
    measured = closed_loop(Request.post(f"{server.url}/chunked", b"p", {}), 2, 0.5)
    assert measured.errors == 0
    assert len(measured.latencies) >= 4
    assert min(measured.latencies) >= 1.2 * Handler.wait


def test_an_open_loop_sends_as_many_as_it_should_and_counts_from_then(server):
    measured = open_loop(Request.post(f"{server.url}/ok", b"p", {}), 100, 1.0)
    assert measured.errors == 0
    assert 70 <= len(measured.latencies) <= 130
    assert min(measured.latencies) >= Handler.wait


def test_an_open_loop_may_end_before_its_time_with_nothing_under_way(server):
    outcomes: list[Outcome] = []
    request = Request.post(f"{server.url}/ok", b"p", {})
    measured = open_loop(request, 20, 60.0, note=outcomes.append, stop=lambda: len(outcomes) >= 5)
    assert measured.seconds < 30
    assert 5 <= len(outcomes) == len(server.bodies) == len(measured.latencies)


def test_connections_that_were_idle_too_long_are_made_anew(server, monkeypatch):
    monkeypatch.setattr(Handler, "timeout", 0.05)
    measured = open_loop(Request.post(f"{server.url}/ok", b"p", {}), 5, 2.0)
    assert measured.errors == 0
    assert len(measured.latencies) >= 4


def test_refusals_are_errors_and_no_latencies(server):
    measured = closed_loop(Request.post(f"{server.url}/full", b"p", {}), 2, 0.3)
    assert measured.latencies == []
    assert measured.errors > 5


def test_every_kind_of_picture_is_one_that_is_read():
    files = pictures()
    assert list(files) == list(KINDS)
    for file in files.values():
        assert read_pixels(file, 128, 64).shape == (3, 128, 128)


def test_a_form_holds_the_picture_many_times():
    request = form("http://127.0.0.1:8000/api/v1/classify", b"picture", 3)
    assert request.message.count(b"\r\n\r\npicture\r\n") == 3
    assert request.message.count(b'name="image"') == 3
    assert (request.host, request.port) == ("127.0.0.1", 8000)
