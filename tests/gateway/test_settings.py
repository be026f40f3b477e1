import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.settings import Settings

ROOT = Path(__file__).parent.parent.parent


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("GATEWAY_PORT", "9000")
    assert Settings().port == 9000


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "eight"), ("PORT", "70000"), ("THREADS", "0"), ("ANSWER_TIMEOUT_SECONDS", "inf")]
)
def test_an_ill_typed_setting_is_named(monkeypatch, name, value):
    monkeypatch.setenv(f"GATEWAY_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_torchserves_addresses_are_separated_by_commas(monkeypatch):
    addresses = ("http://127.0.0.1:8080", "http://[::1]:8080", "http://torch_serve/", "http://torchserve.example.org")
    monkeypatch.setenv("GATEWAY_TORCHSERVE_URL", " , ".join(addresses))
    assert Settings().torchserve_url == addresses


@pytest.mark.parametrize(
    "address",
    [
        *("", ",", "torchserve:8080", "https://torchserve:8443", "http://", "http://:8080", "http://[::1:8080"),
        *("http://torchserve:0", "http://torchserve:99999", "http://torchserve:", "http://torchserve:port"),
        *("http://torchserve/path", "http://torchserve?query", "http://a:b@torchserve", "http://one:1 http://two:2"),
        "http://one:1,two:2",
    ],
)
def test_an_address_of_which_a_part_would_be_passed_over_is_refused(monkeypatch, address):
    monkeypatch.setenv("GATEWAY_TORCHSERVE_URL", address)
    with pytest.raises(ValidationError, match="is not http://HOST or http://HOST:PORT"):
        Settings()


def test_a_wrong_setting_stops_the_start_with_one_sentence():
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gateway" / "gunicorn.conf.py")],
        cwd=ROOT,
        env=os.environ | {"GATEWAY_TORCHSERVE_URL": "https://torchserve:8443"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("gateway: GATEWAY_TORCHSERVE_URL: ")
    assert "'https://torchserve:8443' is not http://HOST" in line


def test_a_stop_takes_as_long_as_answers_may(monkeypatch):
    monkeypatch.setenv("GATEWAY_ANSWER_TIMEOUT_SECONDS", "60.5")
    configured = runpy.run_path(str(ROOT / "gateway" / "gunicorn.conf.py"))
    assert configured["graceful_timeout"] == Settings().stop_seconds == 66


@pytest.mark.parametrize(
    ("host", "bind"), [("127.0.0.1", "127.0.0.1:8000"), ("::", "[::]:8000"), ("localhost", "localhost:8000")]
)
def test_an_address_of_either_kind_can_be_listened_on(monkeypatch, host, bind):
    monkeypatch.setenv("GATEWAY_HOST", host)
    assert runpy.run_path(str(ROOT / "gateway" / "gunicorn.conf.py"))["bind"] == bind


@pytest.mark.parametrize(("store", "folder"), [("", "model-store"), ("/somewhere", "/somewhere")])
def test_the_trial_is_read_beside_the_archives_also_where_their_folder_is_set_to_nothing(monkeypatch, store, folder):
    monkeypatch.setenv("TS_MODEL_STORE", store)
    assert Settings().trial_path == Path(folder) / "trial.json"


def test_every_setting_is_described():
    assert all(field.description for field in Settings.model_fields.values())


def test_the_readme_lists_every_setting_with_its_default():
    rows = re.findall(r"^\| `GATEWAY_(\w+)` \| ?(.*?) ?\| (.+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    listed = {name.lower(): (default, description) for name, default, description in rows}
    expected = {}
    for name, field in Settings.model_fields.items():
        default = ",".join(field.default) if isinstance(field.default, tuple) else str(field.default)
        expected[name] = (default, field.description)
    assert listed == expected
