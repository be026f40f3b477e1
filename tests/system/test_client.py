"""The command-line client as people call it, against the real service."""

import csv
import io
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests import pictures
from tests.service import ROOT


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "one.png").write_bytes(pictures.PHOTO_PATH.read_bytes())
    (tmp_path / "deep" / "two.jpg").write_bytes(pictures.CLOSE["large jpeg"]())
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


@pytest.fixture
def run(service, folder):
    def run(*arguments, url=service.gateway, **variables):
        command = [sys.executable, "-m", "gateway.client", "--url", url, *arguments]
        environment = {"PYTHONPATH": str(ROOT), "COLUMNS": "160", "PATH": ""} | variables
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.fixture
def website():
    """A web server that answers with a page of its own, and an error."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_folders_pictures_become_a_table(run):
    done = run(".")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("cat") == 2
    assert "notes.txt" not in done.stdout


@pytest.mark.parametrize("pattern", ["*.png", "**/*.png"])
def test_a_pattern_that_the_shell_left_alone(run, pattern):
    [result] = json.loads(run("--json", "--top-k", "2", pattern).stdout)
    assert (result["filename"], result["label"], len(result["scores"])) == ("one.png", "cat", 2)


def test_one_bad_file_is_said_and_the_exit_code_is_1(run):
    done = run("--csv", "one.png", "notes.txt")
    assert done.returncode == 1
    good, bad = csv.DictReader(io.StringIO(done.stdout))
    assert (good["label"], good["error"]) == ("cat", "")
    assert "Send a JPEG" in bad["error"]


def test_names_are_shown_as_they_are(run, folder):
    for name in ("mine [final].png", "[red]not.jpg"):
        (folder / "deep" / name).write_bytes(pictures.PHOTO_PATH.read_bytes())
    done = run("deep")
    assert done.returncode == 0, done.stderr
    assert "mine [final].png" in done.stdout
    assert "[red]not.jpg" in done.stdout


@pytest.mark.parametrize(
    ("form", "shown"), [("--json", r"deep/caf\udce9.jpg"), ("--csv", r"deep/caf\udce9.jpg"), (None, r"caf\udce9.jpg")]
)
def test_a_name_that_is_not_utf_8_is_answered_and_shown(run, folder, form, shown):
    (folder / "deep" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(pictures.PHOTO_PATH.read_bytes())
    done = run(*([form] if form else []), "deep", PYTHONIOENCODING="utf-8:strict")
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


def test_a_name_that_begins_like_a_formula_is_harmless_in_a_spreadsheet(run, folder):
    for name in ("=1+1.png", "-2.txt"):
        (folder / name).write_bytes(pictures.PHOTO_PATH.read_bytes() if name.endswith("png") else b"no picture")
    done = run("--csv", "one.png", "=1+1.png", "./-2.txt")
    assert [row["filename"] for row in csv.DictReader(io.StringIO(done.stdout))] == ["one.png", "'=1+1.png", "'-2.txt"]


def test_what_is_no_gateway_is_said(run, service, website):
    for url in (service.inference, website):
        done = run("one.png", url=url)
        assert done.returncode == 1
        assert "not as the gateway does" in done.stdout
        assert "Traceback" not in done.stderr


def test_a_gateway_that_is_not_there_is_said(run):
    done = run("one.png", url="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "Not sent" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_name_of_nothing_is_a_wrong_argument(run):
    done = run("nothing.png")
    assert done.returncode == 2
    assert "nothing.png: no such file" in done.stderr
