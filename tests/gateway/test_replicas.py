"""Several TorchServes behind one gateway: who is asked, who is left out, who comes back."""

import contextlib
import json
import socket
import threading
import time
from pathlib import Path

import pytest

from gateway import replicas
from gateway.replicas import KeyFileError, NoReplicaError, Replicas
from tests.gateway.conftest import TorchServeStandIn


@pytest.fixture
def both():
    servers = [TorchServeStandIn(), TorchServeStandIn()]
    threads = [threading.Thread(target=each.serve_forever, kwargs={"poll_interval": 0.01}) for each in servers]
    for thread in threads:
        thread.start()
    yield servers
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def app(make_app, both):
    return make_app(torchserve_url=",".join(f"http://127.0.0.1:{server.server_port}" for server in both))


def classify(app):
    return app.test_client().post("/api/v1/classify", data=b"picture")


def asked(both):
    return [len(server.seen) for server in both]


def test_equals_have_their_turns(app, both):
    assert [classify(app).status_code for _ in range(10)] == [200] * 10
    assert asked(both) == [5, 5]


@pytest.mark.parametrize("status", [404, 500, 503, 507])
def test_what_one_fails_to_answer_another_does(app, both, status):
    both[0].script = [status] * 20
    assert [classify(app).status_code for _ in range(10)] == [200] * 10


def test_one_that_fails_is_left_out_and_comes_back(app, both, monkeypatch):
    monkeypatch.setattr(replicas, "SHORTEST_PAUSE_SECONDS", 1000)
    monkeypatch.setattr(replicas, "LONGEST_PAUSE_SECONDS", 1000)
    both[0].script = [500]
    for _ in range(10):
        assert classify(app).status_code == 200
    assert len(both[0].seen) == 1
    known = app.extensions["torchserve"].replicas
    first = min(known._known, key=lambda each: each.url != f"http://127.0.0.1:{both[0].server_port}")
    known.answered(first)
    for _ in range(10):
        classify(app)
    assert len(both[0].seen) == 6


def test_one_that_hangs_up_costs_nobody_an_answer(app, both):
    both[0].silent.set()
    assert [classify(app).status_code for _ in range(10)] == [200] * 10


def test_one_whose_machine_is_gone_costs_nobody_an_answer(make_app, both):
    with socket.create_server(("127.0.0.1", 0)) as gone:  # takes connections and says nothing
        urls = f"http://127.0.0.1:{gone.getsockname()[1]},http://127.0.0.1:{both[0].server_port}"
        app = make_app(torchserve_url=urls, answer_timeout_seconds=1)
        assert [classify(app).status_code for _ in range(4)] == [200] * 4


def test_a_full_queue_is_no_reason_to_leave_one_out(app, both):
    both[0].script = [503]
    for _ in range(10):
        assert classify(app).status_code == 200
    assert len(both[0].seen) >= 4


def test_when_all_fail_they_are_asked_all_the_same(app, both):
    for server in both:
        server.script = [500] * 2
    assert [classify(app).status_code for _ in range(2)] == [503, 503]
    assert classify(app).status_code == 200


def test_an_outage_is_503_however_many_ask(make_app):
    app = make_app(torchserve_url="http://127.0.0.1:9")
    assert {classify(app).status_code for _ in range(600)} == {503}  # each has asked twice
    [replica] = app.extensions["torchserve"].replicas.known()
    assert replica.failures == 1200


def test_a_lone_one_whose_queue_is_full_is_not_asked_again(make_app, both):
    app = make_app(torchserve_url=f"http://127.0.0.1:{both[0].server_port}")
    both[0].script = [503]
    assert classify(app).status_code == 503
    assert asked(both) == [1, 0]


def test_the_one_with_fewer_waiting_is_chosen():
    both = Replicas(("http://127.0.0.1:1", "http://127.0.0.1:2"), Path("key_file.json"))
    first = both.choose()
    with both.waiting_for(first):
        assert {both.choose().url for _ in range(4)} == {both.choose(other_than=first).url}
    assert len({both.choose().url for _ in range(4)}) == 2


def test_a_name_stands_for_all_its_addresses_as_they_come_and_go(monkeypatch, tmp_path):
    ips = ["10.0.0.2", "10.0.0.1"]

    def name_server(host, port, **_):
        if not ips:
            raise socket.gaierror("no such host")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ips]

    monkeypatch.setattr(socket, "getaddrinfo", name_server)
    monkeypatch.setattr(replicas, "RESOLVE_SECONDS", 0)
    many = Replicas(("http://torchserve:8080",), tmp_path / "{address}" / "key_file.json")
    first = many.choose()
    assert {many.choose().url for _ in range(4)} == {"http://10.0.0.1:8080", "http://10.0.0.2:8080"}

    with pytest.raises(KeyFileError, match=r"10\.0\.0"):
        first.read_key()
    folder = tmp_path / first.url[len("http://") : -len(":8080")]
    folder.mkdir()
    (folder / "key_file.json").write_text(json.dumps({"inference": {"key": "its own"}}))
    assert first.read_key() == "its own"

    ips[:] = ["10.0.0.1", "10.0.0.3"]
    assert {many.choose().url for _ in range(4)} == {"http://10.0.0.1:8080", "http://10.0.0.3:8080"}
    ips.clear()  # the name server is away for a moment
    assert {many.choose().url for _ in range(4)} == {"http://10.0.0.1:8080", "http://10.0.0.3:8080"}


def test_a_name_that_is_not_known_just_now_keeps_its_addresses_beside_another(monkeypatch):
    ips = {"one": ["10.0.0.1"], "two": ["10.0.0.2"]}

    def name_server(host, port, **_):
        if not ips[host]:
            raise socket.gaierror("no such host")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ips[host]]

    monkeypatch.setattr(socket, "getaddrinfo", name_server)
    monkeypatch.setattr(replicas, "RESOLVE_SECONDS", 0)
    both = Replicas(("http://one", "http://two"), Path("key_file.json"))
    assert {both.choose().url for _ in range(4)} == {"http://10.0.0.1:80", "http://10.0.0.2:80"}
    ips["two"] = []
    assert {both.choose().url for _ in range(4)} == {"http://10.0.0.1:80", "http://10.0.0.2:80"}
    ips["one"] = ["10.0.0.3"]
    assert {both.choose().url for _ in range(4)} == {"http://10.0.0.3:80", "http://10.0.0.2:80"}
    ips["two"] = ["10.0.0.4"]
    assert {both.choose().url for _ in range(4)} == {"http://10.0.0.3:80", "http://10.0.0.4:80"}


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70])
def test_a_name_that_nobody_knows_is_503(make_app, host):
    response = classify(make_app(torchserve_url=f"http://{host}:8080"))
    assert response.status_code == 503
    assert response.get_json()["type"] == "/problems/model-unavailable"


def test_those_who_wait_for_a_name_that_nobody_knows_wait_together(monkeypatch):
    asked = []

    def name_server(*_, **__):
        asked.append(time.monotonic())
        time.sleep(0.3)
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", name_server)
    nobody = Replicas(("http://torchserve:8080",), Path("key_file.json"))

    def choose():
        with contextlib.suppress(NoReplicaError):
            nobody.choose()

    threads = [threading.Thread(target=choose) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) <= 2


def test_localhost_is_one():
    assert len(replicas._resolved("http://localhost:8080")) == 1
