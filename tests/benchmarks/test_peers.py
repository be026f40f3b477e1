"""The comparison with other servers: what they serve, how one is started and checked, the report."""

import json
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.peers import report, servers
from benchmarks.peers.__main__ import CONNECTIONS, RESULTS
from benchmarks.peers.answers import classify, open_classifier
from benchmarks.peers.servers import PEERS, Peer, check, send
from benchmarks.pictures import pictures
from benchmarks.systems import ROOT, BenchmarkError
from handler.engine import has_dot_products
from training.run import write_json

SERVER = """
import os, subprocess, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        answer = b'{"bytes": %d, "folder": "%s", "tracked": "%s"}' % (
            len(body), os.environ["TMPDIR"].encode(), os.environ["BENTOML_DO_NOT_TRACK"].encode())
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *_): pass
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def python(monkeypatch):
    monkeypatch.setattr(servers, "PYTHON", sys.executable)


def raw(url, picture):
    return PEERS[0].request(url, picture)


def test_a_peer_runs_in_a_folder_of_its_own_and_leaves_nothing(python):
    with Peer("any", "pip", ("-c", SERVER, "{port}"), "/classify", raw).start() as system:
        family = system.processes.all()
        request = raw(system.url, b"picture")
        answer = send(request).json()
        check(request, answer, "any")
        with pytest.raises(BenchmarkError, match="any answers otherwise"):
            check(request, answer | {"bytes": 8}, "any")
    assert (answer["bytes"], answer["tracked"]) == (7, "True")
    assert len(family) == 2
    assert not any(psutil.pid_exists(each.pid) for each in family)
    assert not Path(answer["folder"]).exists()


def test_one_that_does_not_start_is_said_with_its_output(python):
    peer = Peer("any", "pip", ("-c", "raise SystemExit('no such module')", "{port}"), "/classify", raw)
    with pytest.raises(BenchmarkError, match="no such module"), peer.start():
        pass


def test_every_peer_is_sent_the_picture():
    messages = [peer.request("http://127.0.0.1:1/x", b"picture").message for peer in PEERS]
    assert [b"picture" in message or b"cGljdHVyZQ==" in message for message in messages] == [True] * len(PEERS)


def test_without_their_environment_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setattr(servers, "PYTHON", ROOT / "nowhere" / "bin" / "python")
    with pytest.raises(BenchmarkError, match="make bench-peers"):
        servers.versions()


@pytest.mark.skipif(not has_dot_products(), reason="this CPU has no dot products of 8-bit integers")
def test_what_they_serve_answers_pictures_together():
    files = list(pictures().values())
    answers = classify(open_classifier(), files)
    assert [answer["label"] for answer in answers] == ["cat"] * len(files)


def document():
    figures = {"rate": 1.0, "p50": 5.0, "p95": 6.0, "p99": 7.0, "errors": 0, "cpu_seconds_per_1000": 2.0}
    rates = {"TorchServe": 600.0, "gateway": 400.0, "FastAPI": 500.0, "Ray Serve": 200.0}
    p99 = {"TorchServe": 20.0, "gateway": 50.0, "FastAPI": 80.0, "Ray Serve": 40.0}
    values: list[dict[str, Any]] = []
    for name, rate in rates.items():
        values.append({"key": ["start", name], "seconds": 2.0})
        values += [
            {"key": ["closed", name, str(each)]} | figures | {"rate": rate - each, "peak_megabytes": 9.0}
            for each in CONNECTIONS
        ]
        values.append({"key": ["open", name]} | figures | {"p99": p99[name], "peak_megabytes": 9.0})
    values.append({"key": [report.AT_PEERS, "TorchServe"]} | figures | {"p99": 10.0, "peak_megabytes": 9.0})
    return {
        "made_by": {"commit": "0123456789abcdef"},
        "cores": 2,
        "processor": "a processor",
        "engine": "an engine",
        "versions": {"FastAPI": "1.2", "Ray Serve": "3.4"},
        "rounds": 3,
        "seconds": 4,
        "values": values,
    }


def test_the_ratios_are_of_the_best_of_the_peers():
    ratios = [value for _, value in report.Comparison(document()).ratios()]
    least = min(CONNECTIONS)
    assert ratios == pytest.approx([(600 - least) / (500 - least), (400 - least) / (500 - least), 0.5, 1.25, 0.25])


def test_table_and_plot_are_made_of_the_results(tmp_path):
    path = tmp_path / "peers.json"
    write_json(path, document())
    table, plot = report.write(path)
    assert f"| FastAPI | 1.2 | {500 - min(CONNECTIONS)} | 2.0 |" in table.read_text()
    assert "memory of either are those of both" in table.read_text()
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_committed_table_is_that_of_the_committed_results(tmp_path):
    copy = tmp_path / RESULTS.name
    copy.write_bytes(RESULTS.read_bytes())
    table, _ = report.write(copy)
    assert table.read_text() == RESULTS.with_suffix(".md").read_text()


def test_the_readme_states_the_committed_results():
    results = report.Comparison(json.loads(RESULTS.read_text()))
    readme = (RESULTS.parent.parent / "README.md").read_text()
    for name in (*report.OURS, *results.peers):
        row = results["open", name]
        line = next(line for line in readme.splitlines() if line.startswith(f"| {name} | "))
        assert line == (
            f"| {name} | {results.best('closed', name):,.0f} | {row['p99']:,.0f} ms "
            f"| {row['cpu_seconds_per_1000']:.1f} s | {row['peak_megabytes']:,.0f} MB |"
        )
    (_, torchserve), (_, gateway), *_ = results.ratios()
    assert f"{torchserve:.2f} times" in readme
    assert f"{gateway:.2f} times" in readme
    [key] = results.keys(report.AT_PEERS)
    assert f"{results[key]['rate']:,.0f} requests/s, TorchServe's p99 was {results[key]['p99']:,.0f} ms" in readme
