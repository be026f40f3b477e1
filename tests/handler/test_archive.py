import json
import subprocess
import sys
import zipfile

import pytest

from handler import archive
from model.manifest import Manifest, WeightsError, sha256_of


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "cifar10.mar"
    archive.pack(path)
    return path


def test_the_same_inputs_give_the_same_bytes(packed, tmp_path):
    again = tmp_path / "again.mar"
    archive.pack(again)
    assert again.read_bytes() == packed.read_bytes()


def test_it_holds_what_serving_needs_and_nothing_else(packed):
    with zipfile.ZipFile(packed) as bundle:
        names = set(bundle.namelist())
        described = json.loads(bundle.read("MAR-INF/MANIFEST.json"))
    assert {"classifier_handler.py", "weights.safetensors", "manifest.json", "model-config.yaml"} < names
    assert not {name for name in names if "training" in name or "test" in name or name.endswith(".pyc")}
    assert described["model"]["modelName"] == "cifar10"
    assert described["model"]["modelVersion"] == Manifest.read().version


def test_its_code_needs_nothing_of_the_project_and_no_torchvision(packed, tmp_path):
    with zipfile.ZipFile(packed) as bundle:
        bundle.extractall(tmp_path)
    code = "import sys, classifier_handler; print({'torchvision', 'training', 'gateway'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_weights_that_are_not_the_manifests_are_not_packed(tmp_path):
    other = tmp_path / "weights.safetensors"
    other.write_bytes(b"other")
    with pytest.raises(WeightsError, match="not the weights"):
        archive.pack(tmp_path / "never.mar", weights=other)
    assert list(tmp_path.iterdir()) == [other]


def test_the_printed_hash_is_the_archives(packed, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["archive", "--output", str(packed)])
    archive.main()
    assert sha256_of(packed) in capsys.readouterr().out
