import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from handler import archive
from model.manifest import Manifest, WeightsError, sha256_of
from tests.service import ROOT


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


def test_a_death_between_archive_and_hash_is_mended_by_packing_again(tmp_path, monkeypatch):
    folder, path = tmp_path / "folder", tmp_path / "cifar10.mar"
    folder.mkdir()
    (folder / "file").write_text("old")
    archive._zip(folder, path)
    old = path.read_bytes()
    (folder / "file").write_text("new")

    def dies(source, target):
        if target == path:
            raise KeyboardInterrupt
        return rename(source, target)

    rename = Path.replace
    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        archive._zip(folder, path)
    monkeypatch.undo()
    assert path.read_bytes() == old
    assert sha256_of(path) not in archive.hash_file(path).read_text()  # so that it is not served
    archive._zip(folder, path)
    assert archive.hash_file(path).read_text() == f"{sha256_of(path)}  cifar10.mar\n"
    assert {each.name for each in tmp_path.iterdir()} == {"folder", "cifar10.mar", "cifar10.mar.sha256"}


def test_make_archive_packs_though_the_archive_is_up_to_date():
    """Its date does not tell that it is damaged."""
    done = subprocess.run(["make", "--dry-run", "archive"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "-m handler.archive" in done.stdout


def test_the_printed_hash_is_the_archives(packed, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["archive", "--output", str(packed)])
    archive.main()
    assert sha256_of(packed) in capsys.readouterr().out
