import json

import pytest

from model.manifest import MANIFEST_PATH, WEIGHTS_PATH, Manifest, WeightsError, sha256_of
from model.networks import load_network


def test_committed_weights_are_those_that_the_manifest_describes():
    manifest = Manifest.read()
    assert sha256_of(WEIGHTS_PATH) == manifest.sha256
    network = load_network(manifest)
    assert sum(parameter.numel() for parameter in network.parameters()) == manifest.document["network"]["parameters"]


def test_committed_figures_are_of_the_whole_test_set():
    metrics = Manifest.read().document["metrics"]
    assert metrics["validation"]["pictures"] == 5_000
    assert metrics["test"]["pictures"] == 10_000
    assert sum(map(sum, metrics["test"]["confusion"])) == 10_000


def test_other_weights_are_refused(tmp_path):
    other = tmp_path / "weights.safetensors"
    other.write_bytes(WEIGHTS_PATH.read_bytes()[:-1] + b"\x00")
    with pytest.raises(WeightsError, match="SHA-256"):
        load_network(Manifest.read(), other)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"no readable weights at .*nowhere"):
        load_network(Manifest.read(), tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["version", "sha256", "input", "calibration", "scope"])
def test_a_manifest_that_lacks_something_says_what(tmp_path, name):
    document = json.loads(MANIFEST_PATH.read_text())
    del document[name]
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(document))
    with pytest.raises(WeightsError, match=name):
        Manifest.read(path)


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_damaged_manifest_is_refused(tmp_path, text):
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(WeightsError, match=r"manifest\.json"):
        Manifest.read(path)


@pytest.mark.parametrize("change", [{"name": "NoSuchNet"}, {"name": None}, {"variant": 9, "side": 128}, {"side": 100}])
def test_a_manifest_of_an_unknown_network_is_refused(change):
    document = json.loads(MANIFEST_PATH.read_text())
    document["network"] = {"name": "EfficientNetLite", "variant": 0, "side": 128} | change
    with pytest.raises(WeightsError, match="no network of this project"):
        load_network(Manifest.of(document, "manifest.json"))
