"""Hostile pictures and requests before the real gateway and before the real TorchServe itself.

Each is answered within ten seconds, no answer is 5xx, no worker dies of it, and a good picture is answered right after.
"""

import contextlib
import http.client
import socket
import time

import psutil
import pytest
import requests

from tests import pictures
from tests.fuzz import hostile
from tests.fuzz.requests import everything

BOUND_SECONDS = 10
PHOTO = pictures.PHOTO_PATH.read_bytes()
OCTETS = {"Content-Type": "application/octet-stream"}

# RFC 9112, section 6.1: the answer to a transfer coding that is not understood.
NOT_IMPLEMENTED = "an unknown transfer coding"
# To what is no HTTP, or of a version without heads, nothing that is said would be understood.
MAY_BE_CUT_OFF = (
    "no http",
    "http/0.9",
    "http/2",
    "a part with a head of 1 MB",
    "a path of 100 kB",
    "a head of 100 kB",
    "chunks of negative length",
)
# TorchServe 0.12 parses forms itself and gives these malformed ones 500, in its Java part and without harm. Who has the
# key can do without forms; the gateway sends none.
TORCHSERVES_OWN_500 = (
    "a form with an empty boundary",
    "a form in a form",
    "a form of 3,000 empty parts",
    "a part without a head",
    "a part without a disposition",
    "a part in base64",
    "a part in an encoding that is none",
)
# It waits for what these leave out, until the sender goes.
UNFINISHED = ("a longer length", "no http", "chunks without end", "http/0.9", "chunks of one byte")


@pytest.fixture(scope="module", autouse=True)
def unharmed(service):
    """The same processes, and no more of them, before and after everything here."""
    before = family(service)
    yield
    assert family(service) == before


def family(service):
    children = psutil.Process(service.process.pid).children(recursive=True)
    return {child.pid: child.name() for child in children if child.status() != psutil.STATUS_ZOMBIE}


def torchserve(service, **options):
    headers = service.key("inference") | options.pop("headers", {})
    return requests.post(f"{service.inference}/predictions/cifar10", headers=headers, timeout=BOUND_SECONDS, **options)


def everywhere(service, data):
    """The answers to a picture by each of the ways in."""
    classify = f"{service.gateway}/api/v1/classify"
    return (
        requests.post(classify, files={"image": data}, timeout=BOUND_SECONDS),
        requests.post(classify, data=data, timeout=BOUND_SECONDS),
        requests.post(f"{service.gateway}/", files={"image": data}, timeout=BOUND_SECONDS),
        torchserve(service, data=data, headers=OCTETS),
        torchserve(service, files={"data": data}),
    )


def assert_well(service):
    answer = requests.post(f"{service.gateway}/api/v1/classify", data=PHOTO, timeout=BOUND_SECONDS).json()
    assert answer["results"][0]["label"] == pictures.PHOTO_LABEL
    assert torchserve(service, data=PHOTO, headers=OCTETS).json()["label"] == pictures.PHOTO_LABEL


def test_hostile_pictures_that_are_answered(service):
    for kind, make in hostile.ANSWERED.items():
        statuses = [answer.status_code for answer in everywhere(service, make())]
        assert statuses == [200] * len(statuses), kind
    assert_well(service)


def test_hostile_pictures_that_are_refused(service):
    for kind, (make, status) in hostile.REFUSED.items():
        statuses = [answer.status_code for answer in everywhere(service, make())]
        assert statuses == [status] * len(statuses), kind
    assert_well(service)


def test_hostile_pictures_that_are_one_or_the_other(service):
    for kind, make in hostile.EITHER.items():
        data = make()
        answers = [requests.post(f"{service.gateway}/api/v1/classify", data=data, timeout=BOUND_SECONDS)]
        if "megapixels" not in kind:  # two seconds each
            answers.append(torchserve(service, files={"data": data}))
        statuses = {answer.status_code for answer in answers}
        assert len(statuses) == 1, kind
        assert statuses <= {200, 422}, kind
    assert_well(service)


def test_a_slow_picture_is_broken_off(service):
    slow = hostile.SLOW["jpeg of many scans"]()
    answer = requests.post(f"{service.gateway}/api/v1/classify", data=slow, timeout=BOUND_SECONDS)
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/too-costly"
    assert_well(service)


def test_eight_bombs_in_one_request_are_answered_before_the_worker_would_be_killed(service):
    """A flat WebP of 49 megapixels is of a few bytes and takes a second or two."""
    bomb = hostile.flat_webp(7_000, 7_000)
    files = [("image", ("bomb.webp", bomb))] * 7 + [("image", ("photo.png", PHOTO))]
    answer = requests.post(f"{service.gateway}/api/v1/classify", files=files, timeout=2 * BOUND_SECONDS)
    assert answer.status_code == 200
    assert len(answer.json()["results"]) == 8
    assert_well(service)


def talk(port, data, *, finish):
    """Send bytes and give the status of the answer, None where there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=BOUND_SECONDS) as connection:
        with contextlib.suppress(OSError):  # it may be closed before all was sent
            connection.sendall(data)
            if finish:
                connection.shutdown(socket.SHUT_WR)
        with contextlib.closing(http.client.HTTPResponse(connection)) as answer:
            try:
                answer.begin()
                answer.read()
            except (http.client.HTTPException, ConnectionError):
                return None
            return answer.status


def ask(port, path, headers, field, *, allowed=(), half_closed):
    for kind, make in everything(field).items():
        began = time.monotonic()
        status = talk(port, make(path, headers), finish=half_closed or kind in UNFINISHED)
        assert time.monotonic() - began < BOUND_SECONDS, kind
        if status is None:
            assert kind in (*MAY_BE_CUT_OFF, *UNFINISHED), kind
        elif kind == NOT_IMPLEMENTED:
            assert status in {400, 501}, kind
        elif kind not in allowed:
            assert 200 <= status < 500, (kind, status)


def test_hostile_requests_to_the_gateway(service):
    ask(service.ports["GATEWAY_PORT"], "/api/v1/classify", {}, "image", half_closed=True)
    assert_well(service)


def test_hostile_requests_to_the_page(service):
    ask(service.ports["GATEWAY_PORT"], "/", {"Accept": "text/html"}, "image", half_closed=True)
    assert_well(service)


def test_hostile_requests_to_torchserve(service):
    port, headers = service.ports["TS_INFERENCE_PORT"], service.key("inference")
    ask(port, "/predictions/cifar10", headers, "data", allowed=TORCHSERVES_OWN_500, half_closed=False)
    assert_well(service)


def test_file_names_come_back_as_text_and_nothing_else(service):
    for name in ("../../etc/passwd", "<img src=x onerror=alert(1)>.png", "{{7*7}}.png", "gpj.\u202egnp.exe"):
        files = {"image": (name, PHOTO, "image/png")}
        answer = requests.post(f"{service.gateway}/api/v1/classify", files=files, timeout=BOUND_SECONDS)
        assert answer.json()["results"][0]["filename"] == name
        page = requests.post(f"{service.gateway}/", files=files, timeout=BOUND_SECONDS)
        assert page.status_code == 200
        assert "<img src=x" not in page.text
        assert "49.png" not in page.text
