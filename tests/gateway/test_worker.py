"""gunicorn as it serves the gateway, before a stand-in for TorchServe that answers when it is told to."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection

import psutil
import pytest
import requests

from gateway.problems import KINDS
from gateway.worker import BURST
from tests.service import ROOT, eventually

RECEIVE_SECONDS = 1.0
THREADS = 2
WAITING = 3
PICTURE = b"picture" * 10
SHORT_BURST_SECONDS = 0.5
SHORT_BURSTS = f"""
exec(open("gateway/gunicorn.conf.py").read())

from gateway import worker

worker.BURST_SECONDS, worker.REST_SECONDS = {SHORT_BURST_SECONDS}, 30.0
"""
"""gunicorn's configuration, in which a burst is over soon and a new one begins late; its worker inherits both."""


class Gateway:
    def __init__(self, torchserve, key_file, config, **settings):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        environment = os.environ | {
            "GATEWAY_PORT": str(self.port),
            "GATEWAY_TORCHSERVE_URL": f"http://127.0.0.1:{torchserve.server_port}",
            "GATEWAY_KEY_FILE": str(key_file),
            "GATEWAY_THREADS": str(THREADS),
            "GATEWAY_MOST_WAITING": str(WAITING),
            "GATEWAY_RECEIVE_TIMEOUT_SECONDS": str(RECEIVE_SECONDS),
        }
        command = [sys.executable, "-m", "gunicorn", "--config", str(config)]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment | settings, stdout=subprocess.DEVNULL)
        self.connections = contextlib.ExitStack()

    def is_up(self):
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.url}/livez", timeout=5).ok

    def connect(self):
        """A connection that is closed when the test is over, if not before."""
        return self.connections.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=10))

    def classify(self, body=PICTURE, **options):
        return requests.post(f"{self.url}/api/v1/classify", data=body, timeout=20, **options)


@pytest.fixture
def start(torchserve, key_file):
    started = []

    def begin(config="gateway/gunicorn.conf.py", **settings):
        gateway = Gateway(torchserve, key_file, config, **settings)
        started.append(gateway)
        eventually(gateway.is_up, 30)
        return gateway

    yield begin
    torchserve.open.set()
    for gateway in started:
        gateway.connections.close()
        gateway.process.send_signal(signal.SIGTERM)
        gateway.process.wait(30)


@pytest.fixture
def gateway(start):
    return start()


@pytest.fixture
def crowd(start, torchserve, tmp_path):
    """Starts a gateway with as many requests as may wait when there is no burst; gives it and their connections."""
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(SHORT_BURSTS)

    def crowd(**settings):
        gateway = start(config, **settings)
        connections = fill(gateway, torchserve, THREADS + WAITING)
        time.sleep(SHORT_BURST_SECONDS)
        return gateway, connections

    return crowd


@pytest.fixture
def crowded(crowd):
    return crowd()


def post(body=PICTURE, *headers, length=None):
    lines = ["POST /api/v1/classify HTTP/1.1", "Host: test", *headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(chunks, *headers):
    lines = ["POST /api/v1/classify HTTP/1.1", "Host: test", *headers, "Transfer-Encoding: chunked"]
    return "\r\n".join([*lines, "", ""]).encode() + chunks


def answer(connection):
    """One response: status, headers and body; nothing of the next one is read."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece:
            return None
        head += piece
    head, body = head.removesuffix(b"\r\n\r\n"), b""
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    while len(body) < int(headers["Content-Length"]):
        body += connection.recv(int(headers["Content-Length"]) - len(body))
    return int(first.split()[1]), headers, body


def fill(gateway, torchserve, count):
    """So many requests that are not answered until `torchserve.open` is set, on connections of their own."""
    connections = [gateway.connect() for _ in range(count)]
    send(gateway, torchserve, connections)
    return connections


def send(gateway, torchserve, connections):
    torchserve.open.clear()
    for connection in connections:
        connection.sendall(post())
    in_progress = f"gateway_posts_in_progress {len(connections)}.0"
    eventually(lambda: in_progress in requests.get(f"{gateway.url}/metrics", timeout=5).text, 10)


@pytest.mark.parametrize(
    "start_of_a_request",
    [b"", b"POST /api/v1/cl", post()[:-30], post(length=10_000_000), b"GET / HTTP/1.1\r\n"],
    ids=["nothing", "half a line", "half a body", "little of a large body", "half a head"],
)
def test_many_slow_senders_cost_others_nothing(start, start_of_a_request):
    seconds = 2 * RECEIVE_SECONDS
    gateway = start(GATEWAY_RECEIVE_TIMEOUT_SECONDS=str(seconds))
    assert gateway.classify().ok  # the first one takes longer
    began = time.monotonic()
    slow = [gateway.connect() for _ in range(100)]
    for connection in slow:
        connection.sendall(start_of_a_request)
    assert gateway.classify().ok
    assert time.monotonic() - began < seconds  # while all of them are still waited for
    for connection in slow:
        received = answer(connection)
        if start_of_a_request:
            status, headers, body = received
            assert status == 408
            assert headers["Connection"] == "close"
            assert json.loads(body)["type"] == "/problems/request-timeout"
            assert json.loads(body)["request_id"] == headers["X-Request-ID"]
        else:
            assert received is None
        assert connection.recv(1) == b""


def test_a_sender_of_single_bytes_is_cut_off(gateway):
    with gateway.connect() as connection:
        connection.sendall(post(length=1000))
        began = time.monotonic()
        while not select.select([connection], [], [], 0.1)[0]:
            assert time.monotonic() - began < 5 * RECEIVE_SECONDS
            connection.sendall(b"x")
        assert answer(connection)[0] == 408


def test_a_large_upload_that_goes_on_is_waited_for(gateway):
    body = os.urandom(100_000)
    with gateway.connect() as connection:
        connection.sendall(post(length=len(body)))
        for start in range(0, len(body), 5_000):  # in all twice as long as the start may take
            connection.sendall(body[start : start + 5_000])
            time.sleep(0.1)
        assert answer(connection)[0] == 200


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 1_000_000, 19_999_999])
def test_a_body_arrives_as_it_was_sent(gateway, torchserve, size):
    body = os.urandom(size)
    assert gateway.classify(body).ok
    assert torchserve.seen[-1][2] == body


def test_a_body_in_chunks_arrives_as_it_was_sent(gateway, torchserve):
    pieces = [os.urandom(size) for size in (1, 100, 70_000)]
    assert gateway.classify(iter(pieces)).ok
    assert torchserve.seen[-1][2] == b"".join(pieces)


def test_senders_of_endless_chunks_cost_others_nothing(gateway):
    slow = [gateway.connect() for _ in range(10)]
    for connection in slow:
        connection.sendall(chunked(b"5\r\n"))
    assert gateway.classify().ok
    for connection in slow:
        assert answer(connection)[0] in {408, 503}
        assert connection.recv(1) == b""


@pytest.mark.parametrize("headers", [(), ("Content-Type: multipart/form-data; boundary=x",)], ids=["body", "form"])
def test_who_stops_in_the_middle_of_chunks_is_told_so(gateway, headers):
    connection = gateway.connect()
    connection.sendall(chunked(b"5\r\n--x\r\n\r\n", *headers))
    status, headers, _ = answer(connection)
    assert (status, headers["Connection"]) == (408, "close")


def test_after_chunks_that_cannot_be_read_the_connection_ends(gateway):
    connection = gateway.connect()
    connection.sendall(chunked(b"no number\r\n"))
    status, headers, _ = answer(connection)
    assert (status, headers["Connection"]) == (400, "close")
    assert connection.recv(1) == b""


def test_who_waits_to_be_told_to_go_on_is_told_once(gateway, torchserve):
    body = os.urandom(1000)
    with gateway.connect() as connection:
        connection.sendall(post(b"", "Expect: 100-continue", length=len(body)))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert answer(connection)[0] == 200
    assert torchserve.seen[-1][2] == body


def test_requests_that_come_together_are_answered_in_their_order(gateway):
    with gateway.connect() as connection:
        connection.sendall(b"".join(post(PICTURE, f"X-Request-ID: number-{number}") for number in range(5)))
        ids = [answer(connection)[1]["X-Request-ID"] for _ in range(5)]
    assert ids == [f"number-{number}" for number in range(5)]


def test_a_request_too_large_to_be_read_is_answered_before_it_has_come(gateway):
    with gateway.connect() as connection:
        connection.sendall(post(length=200_000_000))
        assert answer(connection)[0] == 413


def test_head_and_body_come_in_one_piece(gateway):
    for _ in range(20):
        with gateway.connect() as connection:
            connection.sendall(post())
            assert connection.recv(65536).endswith(b"\n")  # of the JSON: nothing is left to come


def test_no_answer_says_what_serves_it(gateway):
    for path in ("/livez", "/", "/of/none"):
        assert "Server" not in requests.get(f"{gateway.url}{path}", timeout=5).headers


def test_a_head_request_and_a_picture_of_the_page_are_whole(gateway):
    response = requests.head(f"{gateway.url}/", timeout=5)
    assert response.ok
    assert response.content == b""
    style = requests.get(f"{gateway.url}/static/page.css", timeout=5)
    assert style.content == (ROOT / "gateway" / "static" / "page.css").read_bytes()


def test_a_crowd_that_stays_is_turned_away_at_once_and_the_rest_is_answered(crowded, torchserve):
    gateway, connections = crowded
    began = time.monotonic()
    response = gateway.classify(headers={"X-Request-ID": "one-too-many"})
    assert time.monotonic() - began < 5
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert response.headers["X-Request-ID"] == "one-too-many"
    assert response.headers["Connection"] == "keep-alive"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert response.json() == {
        "type": "/problems/overloaded",
        "title": KINDS["overloaded"].title,
        "status": 503,
        "detail": KINDS["overloaded"].detail,
        "request_id": "one-too-many",
    }
    assert requests.get(f"{gateway.url}/livez", timeout=5).ok
    torchserve.open.set()
    assert [answer(connection)[0] for connection in connections] == [200] * len(connections)
    assert gateway.classify().ok
    counts = requests.get(f"{gateway.url}/metrics", timeout=5).text
    assert 'gateway_requests_total{method="POST",route="/api/v1/classify",status="503"} 1.0' in counts
    assert 'gateway_problems_total{kind="overloaded"} 1.0' in counts
    assert KINDS["overloaded"].title in requests.get(f"{gateway.url}/status", timeout=5).text


def test_a_burst_is_answered(gateway, torchserve):
    connections = fill(gateway, torchserve, THREADS + BURST * WAITING)
    torchserve.open.set()
    assert [answer(connection)[0] for connection in connections] == [200] * len(connections)


def test_a_crowd_that_comes_back_at_once_is_no_new_burst(crowded, torchserve):
    gateway, connections = crowded
    torchserve.open.set()
    assert [answer(connection)[0] for connection in connections] == [200] * len(connections)
    requests.get(f"{gateway.url}/metrics", timeout=5)  # asks for the model's figures once, before nothing is answered
    send(gateway, torchserve, connections)
    assert gateway.classify().status_code == 503
    torchserve.open.set()
    assert [answer(connection)[0] for connection in connections] == [200] * len(connections)


def test_a_person_is_turned_away_in_words_of_their_language(crowded):
    gateway, _ = crowded
    form = {"image": ("picture.jpg", PICTURE)}
    headers = {"Accept": "text/html", "Accept-Language": "uk-UA,uk;q=0.9"}
    response = requests.post(gateway.url, files=form, headers=headers, timeout=5)
    assert response.status_code == 503
    assert response.headers["Content-Type"].startswith("text/html")
    assert "Забагато зображень водночас" in response.text


def test_a_connection_refused_once_is_answered_later(crowded, torchserve):
    gateway, _ = crowded
    with gateway.connect() as connection:
        connection.sendall(post() + post())
        assert [answer(connection)[0] for _ in range(2)] == [503, 503]
        torchserve.open.set()
        eventually(lambda: connection.sendall(post()) or answer(connection)[0] == 200, 5)


def test_what_comes_next_over_a_refused_connection_is_treated_as_it_comes(crowded):
    gateway, _ = crowded
    with gateway.connect() as connection:
        for number in range(3):
            connection.sendall(post(PICTURE, f"X-Request-ID: number-{number}"))
            status, headers, body = answer(connection)
            assert (status, headers["X-Request-ID"]) == (503, f"number-{number}")
            assert json.loads(body)["request_id"] == f"number-{number}"
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n")
        assert answer(connection)[0] == 200
        for piece in (post()[:-9], post()[-9:]):
            connection.sendall(piece)
            time.sleep(0.1)
        assert answer(connection)[0] == 503
        connection.sendall(post(PICTURE, "Connection: close"))
        assert answer(connection)[1]["Connection"] == "close"
        assert connection.recv(1) == b""
    eventually(lambda: "gateway_posts_in_progress 5.0" in requests.get(f"{gateway.url}/metrics", timeout=5).text, 5)


def test_as_many_connections_as_there_may_be_shut_nobody_out(start):
    gateway = start(GATEWAY_RECEIVE_TIMEOUT_SECONDS="60")
    idle = [gateway.connect() for _ in range(1100)]
    began = time.monotonic()
    assert gateway.classify().ok
    assert time.monotonic() - began < 5
    assert len(idle) == 1100


def test_a_stop_waits_for_what_was_accepted(start, torchserve):
    gateway = start(GATEWAY_RECEIVE_TIMEOUT_SECONDS="20")
    connections = fill(gateway, torchserve, THREADS + WAITING - 1)
    half = gateway.connect()
    half.sendall(post()[:-5])
    time.sleep(0.2)
    gateway.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    half.sendall(post()[-5:])
    torchserve.open.set()
    assert [answer(connection)[0] for connection in [*connections, half]] == [200] * (len(connections) + 1)
    gateway.connections.close()
    assert gateway.process.wait(10) == 0


def test_uploads_beyond_what_memory_there_is_for_are_turned_away(start, torchserve):
    gateway = start(GATEWAY_MAX_REQUEST_BYTES="1000000", GATEWAY_RECEIVE_TIMEOUT_SECONDS="20")
    held = [gateway.connect() for _ in range(3)]
    for connection in held:
        connection.sendall(post(bytes(850_000), length=900_000))
    [refused], _, _ = select.select(held, [], [], 10)
    assert answer(refused)[0] == 503
    held.remove(refused)
    assert gateway.classify().ok
    for connection in held:
        connection.sendall(bytes(50_000))
        assert answer(connection)[0] == 200


def test_who_waited_for_a_thread_is_answered_in_time_as_well(start, torchserve):
    gateway = start(GATEWAY_ANSWER_TIMEOUT_SECONDS="4")
    began = time.monotonic()
    connections = fill(gateway, torchserve, THREADS + BURST * WAITING)
    assert {answer(connection)[0] for connection in connections} == {504}
    assert time.monotonic() - began < 12  # not 40, as if each had these seconds from when a thread took it


def test_pages_that_wait_for_the_model_are_answered_in_time_and_hold_up_no_probe(start, torchserve):
    gateway = start(GATEWAY_ANSWER_TIMEOUT_SECONDS="2")
    torchserve.open.clear()
    began = time.monotonic()
    connections = [gateway.connect() for _ in range(4 * THREADS)]
    for connection in connections:
        connection.sendall(b"GET /api/v1/model HTTP/1.1\r\nHost: test\r\n\r\n")
    time.sleep(0.2)
    assert gateway.is_up()
    assert time.monotonic() - began < 1.5
    assert [answer(connection)[0] for connection in connections] == len(connections) * [504]
    assert time.monotonic() - began < 5  # not 8, as if each had these seconds from when a thread took it


def test_a_request_that_comes_when_its_connection_was_to_end_is_answered(start):
    gateway = start()
    with gateway.connect() as connection:
        connection.sendall(post())
        assert answer(connection)[0] == 200
        os.kill(gateway.process.pid, signal.SIGTERM)  # kept connections now have two seconds
        deadline = time.monotonic() + 10
        is_kept = True
        while is_kept:
            assert time.monotonic() < deadline, "the connection goes on although the gateway stops"
            connection.sendall(post())
            status, headers, _ = answer(connection)
            assert status == 200
            is_kept = headers["Connection"] != "close"


@pytest.mark.parametrize("are_kept", [False, True], ids=["half a request", "kept connections"])
def test_room_made_for_others_while_somebody_sends_harms_nobody(start, are_kept):
    gateway = start(GATEWAY_RECEIVE_TIMEOUT_SECONDS="60")
    [worker] = psutil.Process(gateway.process.pid).children()
    connections = [gateway.connect() for _ in range(999)]
    for connection in connections:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n" if are_kept else post()[:-2])
        if are_kept:
            assert answer(connection)[0] == 200
    eventually(lambda: len(worker.net_connections("tcp")) > len(connections), 20)
    worker.suspend()  # so that all of this is one turn of its loop, those who come first
    others = [gateway.connect() for _ in range(20)]
    for connection in connections[:100]:
        connection.sendall(post() if are_kept else post()[-2:-1])
    worker.resume()
    for connection in others:
        connection.sendall(post())
        assert answer(connection)[0] in {200, 503}
    assert worker.is_running()


def test_a_head_that_is_shortened_leaves_nothing_in_the_books(start):
    gateway = start(GATEWAY_MAX_REQUEST_BYTES="1000000")
    for _ in range(40):  # in all more than may be held at once
        connection = HTTPConnection("127.0.0.1", gateway.port, timeout=10)
        connection.request("POST", "/api/v1/classify", PICTURE, {"Expect": " " * 60_000 + "100-continue"})
        connection.getresponse().read()
        connection.close()
    with gateway.connect() as connection:
        request = post(bytes(100_000))
        connection.sendall(request[:50_000])
        time.sleep(0.2)
        connection.sendall(request[50_000:])
        assert answer(connection)[0] == 200


def test_what_came_fast_buys_no_time_to_stand_still(gateway):
    with gateway.connect() as connection:
        connection.sendall(post(bytes(900_000), length=1_000_000))
        began = time.monotonic()
        assert answer(connection)[0] == 408
        assert time.monotonic() - began < 5 * RECEIVE_SECONDS


def test_a_slow_body_in_chunks_that_goes_on_is_waited_for(start, torchserve):
    gateway = start(GATEWAY_ANSWER_TIMEOUT_SECONDS="1")  # from when it is whole, and it takes longer to come
    body = os.urandom(100_000)

    def pieces():
        for begin in range(0, len(body), 5_000):  # in all twice as long as the start may take
            yield body[begin : begin + 5_000]
            time.sleep(0.1)

    assert gateway.classify(pieces()).ok
    assert torchserve.seen[-1][2] == body


def test_an_empty_line_before_a_request_is_passed_over(gateway):
    with gateway.connect() as connection:
        for _ in range(2):
            connection.sendall(b"\r\n" + post())
            assert answer(connection)[0] == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nno header\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: foo\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 400),
        (b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + b"a" * 9_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    ],
)
def test_a_head_that_cannot_be_read_is_answered_in_the_one_form(gateway, head, status):
    with gateway.connect() as connection:
        connection.sendall(head)
        answered, headers, body = answer(connection)
        assert (answered, headers["Content-Type"]) == (status, "application/problem+json")
        assert json.loads(body)["request_id"] == headers["X-Request-ID"]
        assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("request_bytes", "is_kept"),
    [
        (b"\r\n" + post(), True),
        (post(PICTURE, length=f"0{len(PICTURE)}"), True),
        (post().replace(b"Content-Length:", b"Content-Length :"), False),
        (post().replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (post(PICTURE, "Connection: close"), False),
    ],
    ids=["an empty line before it", "a zero before its length", "an unclear length", "HTTP/1.0", "its last one"],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_however_a_request_is_written_a_crowd_is_a_crowd(crowded, request_bytes, is_kept, is_first):
    with crowded[0].connect() as connection:
        if not is_first:
            connection.sendall(post())
            assert answer(connection)[0] == 503
        connection.sendall(request_bytes)
        status, headers, _ = answer(connection)
        assert (status, headers["Connection"]) == (503, "keep-alive" if is_kept else "close")
        if is_kept:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n")
            assert answer(connection)[0] == 200
        else:
            assert connection.recv(1) == b""


def test_who_is_refused_before_the_body_is_asked_for_it_first(crowded):
    with crowded[0].connect() as connection:
        connection.sendall(post())
        assert answer(connection)[0] == 503
        body = b"GET / HTTP/1.1\r\n\r\n1234"  # as long as the Expect header's line
        connection.sendall(post(b"", "Expect: 100-continue", length=len(body)))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert answer(connection)[0] == 503
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n")
        assert answer(connection)[0] == 200


def test_a_refusal_may_be_read_by_pages_that_may_ask(crowd):
    gateway, _ = crowd(GATEWAY_CORS_ORIGINS="https://a.example")
    for origin, shared in (("https://a.example", "https://a.example"), ("https://b.example", None)):
        refused = gateway.classify(headers={"Origin": origin})
        assert refused.status_code == 503
        assert refused.headers.get("Access-Control-Allow-Origin") == shared
