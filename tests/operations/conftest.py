"""A running service that takes versions, archives for it, and the operator's command as people call it."""

import io
import json
import shutil
import subprocess
import sys
from contextlib import closing, redirect_stderr, redirect_stdout

import pytest
import requests
from safetensors.torch import load_file, save_file

from handler import archive
from launcher.settings import Settings
from model.manifest import INT8_PATH, MANIFEST_PATH, WEIGHTS_PATH, sha256_of
from operations.__main__ import main
from operations.history import FILE_NAME
from operations.keys import Keys
from operations.torchserve import TorchServe, management_url
from tests.service import ROOT, Service

SERVED = json.loads(MANIFEST_PATH.read_text())["version"]
BETTER, WORSE, BROKEN = "71.1", "71.2", "71.3"  # numbers that no committed weights will have


def pack_version(path, version, *, change=None, tensors=None):
    """Pack the committed weights as another version, with a hash of their own, after changing manifest or weights."""
    weights, manifest = path.with_suffix(".safetensors"), path.with_suffix(".json")
    state = load_file(WEIGHTS_PATH)
    save_file(tensors(state) if tensors else state, weights, metadata={"version": version})
    document = json.loads(MANIFEST_PATH.read_text()) | {"version": version, "sha256": sha256_of(weights)}
    if change:
        change(document)
    if "int8" in document:
        shutil.copy(INT8_PATH, path.parent)
    manifest.write_text(json.dumps(document))
    archive.pack(path, weights, manifest)
    return path


def cooler(document):
    """The same classes with other scores, by which an answer of this version is known."""
    document["calibration"]["temperature"] *= 1.5


def not_quantised(document):
    """The weights themselves answer."""
    document.pop("int8", None)


def unknown_network(document):
    """Its worker stops when it reads this."""
    not_quantised(document)
    document["network"]["name"] = "NeverHeardOf"


def wrong_classes(state):
    """Most classes take their neighbour's place."""
    return {
        name: tensor.roll(1, 0).contiguous() if tensor.ndim == 2 and len(tensor) in {10, 11} else tensor
        for name, tensor in state.items()
    }


@pytest.fixture(scope="session")
def archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archives")
    return {
        SERVED: pack_version(folder / "served.mar", SERVED),
        BETTER: pack_version(folder / "better.mar", BETTER, change=cooler),
        WORSE: pack_version(folder / "worse.mar", WORSE, change=not_quantised, tensors=wrong_classes),
        BROKEN: pack_version(folder / "broken.mar", BROKEN, change=unknown_network),
    }


def copy_archive(source, target):
    """As make archive leaves it, with its hash beside it."""
    shutil.copy(source, target)
    shutil.copy(archive.hash_file(source), archive.hash_file(target))


@pytest.fixture(scope="session")
def operated(tmp_path_factory, archives):
    """A service with a model store of its own, started with model control."""
    store = tmp_path_factory.mktemp("store")
    copy_archive(archives[SERVED], store / "cifar10.mar")
    log = tmp_path_factory.mktemp("operated") / "log"
    with Service(
        log, TS_MODEL_STORE=str(store), TS_ENABLE_MODEL_API="true", GATEWAY_ANSWER_TIMEOUT_SECONDS="60"
    ) as service:
        service.store = store
        yield service


@pytest.fixture
def torchserve(operated):
    settings = Settings(**{name.lower(): port for name, port in operated.ports.items()})
    torchserve = TorchServe(settings, Keys(settings.key_file, management_url(settings)))
    with closing(torchserve.session):
        yield torchserve


class Done:
    """What the command printed and gave back."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err
        assert "Traceback" not in self.err

    @property
    def document(self):
        return json.loads(self.out)


def command_on(service, *arguments):
    """Runs the command as people do."""
    command = [sys.executable, "-m", "operations", *map(str, arguments)]
    environment = service.environment | {"COLUMNS": "160"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def operate_on(service, *arguments):
    """Runs the command in this process: one of its own takes most of a second for its imports."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in (service.environment | {"COLUMNS": "160"}).items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["operations", *map(str, arguments)])
        try:
            code: str | int | None = main()
        except SystemExit as stop:  # of wrong arguments
            code = stop.code
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture
def hurried(monkeypatch):
    """Versions go at once where nobody asks: an operator waits for as long as an answer may take."""
    monkeypatch.setattr("operations.versions._longest_answer_seconds", lambda _: 0.5)


@pytest.fixture
def operate(operated):
    """Runs the command; afterwards the first version is the default again and nothing is recorded."""

    def operate(*arguments):
        return operate_on(operated, *arguments)

    yield operate
    url = f"{operated.management}/models/cifar10/{SERVED}/set-default"
    assert requests.put(url, headers=operated.key("management"), timeout=30).ok
    (operated.store / FILE_NAME).unlink(missing_ok=True)


@pytest.fixture
def load(operate, operated, archives):
    """Has a version loaded, unless it is already."""

    def load(version):
        if version not in loaded(operate):
            done = operate("add", archives[version])
            assert done.code == 0, done.err

    return load


def loaded(operate):
    return [version["version"] for version in operate("list", "--json").document["versions"]]
