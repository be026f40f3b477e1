"""Quantising a small network: the same function as ONNX, nearly the same in 8 bits, and nothing lost where it fails."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from handler.archive import pack
from handler.engine import Float32Engine, Int8Engine, has_dot_products, open_engine
from model.classifier import Classifier
from model.images import Square
from model.manifest import Manifest, WeightsError, sha256_of
from model.whitened_convnet import WhitenedConvNet
from training import quantize
from training.data import DataError
from training.publish import describe
from training.run import save_weights

pytestmark = [
    pytest.mark.skipif(not has_dot_products(), reason="this CPU has no dot products of 8-bit integers"),
    pytest.mark.filterwarnings("ignore"),  # NNCF and torch's exporter use one another's old ways
]


@pytest.fixture(scope="module")
def network(tiny):
    torch.manual_seed(0)
    network = WhitenedConvNet((16, 16, 16)).eval()
    network.init_whitening(torch.from_numpy(tiny.train.images).permute(0, 3, 1, 2))
    return network


@pytest.fixture
def served(network, tmp_path, monkeypatch):
    """Weights with a manifest, in a folder of their own."""
    weights = tmp_path / "weights.safetensors"
    save_weights(network, weights)
    document = {
        "version": "1.0",
        "sha256": sha256_of(weights),
        "network": describe(network),
        "input": {"detail": 32},
        "calibration": {"temperature": 1.0},
        "scope": {"threshold": 0.05, "quantiles": [0.0, 1.0], "photographs": 10},
        "measured_with": "an engine",
        "other_pictures": {"digits": {"auroc": 0.9}},
        "robustness": {"accuracy": 0.9},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    monkeypatch.setattr(quantize, "WEIGHTS_PATH", weights)
    monkeypatch.setattr(quantize, "MANIFEST_PATH", tmp_path / "manifest.json")
    monkeypatch.setattr(quantize, "INT8_PATH", tmp_path / "int8.onnx")
    read = Manifest.read
    monkeypatch.setattr(Manifest, "read", lambda path=tmp_path / "manifest.json": read(path))
    return tmp_path


def main(monkeypatch, npz, *arguments):
    monkeypatch.setattr("sys.argv", ["quantize", "--data", str(npz), "--pictures", "20", *arguments])
    quantize.main()


def test_onnx_computes_what_the_network_does(network):
    session = onnxruntime.InferenceSession(quantize.export(network).SerializeToString())
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    [outputs] = session.run(None, {"pixels": pixels})
    assert np.allclose(outputs, Float32Engine(network).outputs(pixels), atol=1e-4)


def test_the_quantised_network_is_installed_packed_and_served(served, npz, photographs_zip, monkeypatch, capsys):
    monkeypatch.setattr(quantize, "WORST_LOSS", 1.0)
    main(monkeypatch, npz, "--photographs", str(photographs_zip))
    manifest = Manifest.read()
    described = manifest.document["int8"]
    assert described["calibration"] == {"pictures": 20, "photographs": 10}
    assert described["validation"]["same_answers"] > 0.8
    assert "of the answers the same" in capsys.readouterr().out
    assert not {"robustness", "other_pictures"} & set(manifest.document)  # those were another network's
    assert manifest.document["scope"]["fitted_under"]["engine"] == "an engine"

    graph = onnx.load(served / "int8.onnx").graph
    kinds = {output: node.op_type for node in graph.node for output in node.output}
    [last] = [node for node in graph.node if node.op_type in {"Gemm", "MatMul"}]
    assert "DequantizeLinear" not in {kinds.get(name) for name in last.input}  # it stays in float32
    assert "DequantizeLinear" in kinds.values()

    engine, reason = open_engine(served / "weights.safetensors", manifest, 1)
    assert (type(engine), engine.side, reason) == (Int8Engine, 32, "")
    assert len(Classifier(engine, manifest).classify([Square(np.zeros((3, 32, 32), np.uint8), 32)] * 2)) == 2

    pack(served / "packed.mar", served / "weights.safetensors", served / "manifest.json")
    assert b"int8.onnx" in (served / "packed.mar").read_bytes()
    (served / "int8.onnx").write_bytes(b"other")
    with pytest.raises(WeightsError, match="make quantize"):
        pack(served / "never.mar", served / "weights.safetensors", served / "manifest.json")


def test_one_that_answers_worse_is_not_installed(served, npz, monkeypatch):
    monkeypatch.setattr(quantize, "WORST_LOSS", -1.0)
    before = {path.name: path.read_bytes() for path in served.iterdir()}
    with pytest.raises(SystemExit, match=r"8 bits cost .* stays as it was"):
        main(monkeypatch, npz)
    assert {path.name: path.read_bytes() for path in served.iterdir()} == before


def test_a_loss_of_just_as_much_as_is_allowed_is_taken(served, npz, monkeypatch):
    def make(manifest, data, path, *_, **__):
        path.write_bytes(b"a network")
        figures = {"same_answers": 1.0, "largest_difference": 0.0}
        return {"validation": {"float32_accuracy": 0.9626, "accuracy": 0.9616} | figures}  # five of 5,000

    monkeypatch.setattr(quantize, "make", make)
    main(monkeypatch, npz)
    assert (served / "int8.onnx").read_bytes() == b"a network"


def test_too_few_photographs_are_said(network, served, tiny, photographs_zip):
    classifier = Classifier(Float32Engine(network), Manifest.read())
    with pytest.raises(DataError, match="fewer than 75 pictures"):
        quantize.calibration_pictures(classifier, tiny.train, photographs_zip, 150)


def test_too_few_training_pictures_are_said(served, npz, monkeypatch):
    with pytest.raises(SystemExit, match="there are 180 training pictures, and 100,000 are to calibrate with"):
        main(monkeypatch, npz, "--pictures", "100000")


def test_calibrating_with_nothing_is_said(served, npz, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        main(monkeypatch, npz, "--pictures", "0")
    assert "--pictures must be 1 or more, not 0" in capsys.readouterr().err
