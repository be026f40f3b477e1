"""The comparison of engines: a worker on a small network, what cannot compute, the table."""

import json
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from rich.console import Console

from benchmarks.engines import __main__ as engines
from benchmarks.engines import report
from benchmarks.engines.__main__ import EXACT, RESULTS, Worker, classify, compared, kept, probabilities, speeds
from benchmarks.engines.kinds import BATCHES, COMPILED, FLOAT32, KINDS, SERVED
from benchmarks.engines.worker import PIXELS
from benchmarks.systems import BenchmarkError
from handler.engine import Float32Engine
from model.manifest import sha256_of
from model.whitened_convnet import WhitenedConvNet
from training.publish import describe
from training.quantize import export
from training.run import save_weights, write_json

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's exporter uses old ways
PICTURES = 11  # no multiple of a batch


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What `prepare` makes, for a network that computes quickly."""
    folder = tmp_path_factory.mktemp("engines")
    torch.manual_seed(0)
    network = WhitenedConvNet((16, 16, 16)).eval()
    save_weights(network, folder / "weights.safetensors")
    document = {
        "version": "1.0",
        "sha256": sha256_of(folder / "weights.safetensors"),
        "network": describe(network),
        "input": {"detail": 32},
        "calibration": {"temperature": 1.0},
        "scope": {"threshold": 0.05, "quantiles": [0.0, 1.0]},
    }
    (folder / "manifest.json").write_text(json.dumps(document))
    onnx.save(export(network), folder / FLOAT32)
    pixels = np.random.default_rng(0).integers(0, 256, (PICTURES, 3, 32, 32), dtype=np.uint8)
    np.save(folder / PIXELS, pixels)
    np.save(folder / "exact.npy", Float32Engine(network).outputs(pixels))
    return folder


def test_engines_are_measured_beside_the_exact_one(folder, monkeypatch, capsys):
    monkeypatch.setattr(engines, "PYTHON", Path("/nowhere/.venv-peers/bin/python"))
    names = [EXACT, "ONNX Runtime, float32", "ONNX Runtime, int8", "OpenVINO, int8"]
    labels = np.load(folder / "exact.npy")[:, :10].argmax(axis=1)
    with ExitStack() as stack:
        workers = [Worker(name, folder, stack) for name in names]
        exact, onnx_runtime, unquantised, missing = classify(workers, folder, labels, 1.0, Console())
        took = speeds(workers[:2], Namespace(rounds=2, seconds=0.05), Console())
        family = [worker.process for worker in workers[:3]]
    assert (exact["accuracy"], exact["largest_difference"], exact["same_answers"]) == (1.0, 0.0, 1.0)
    assert exact["library"] == f"torch {torch.__version__}"
    assert np.allclose(np.load(folder / "0.npy"), np.load(folder / "exact.npy"), atol=1e-4)
    assert onnx_runtime["same_answers"] == 1.0
    assert onnx_runtime["largest_difference"] < 1e-3
    assert exact["start_seconds"] > 0
    assert exact["megabytes"] > 10
    assert unquantised["unavailable"] == "these weights were not quantised"
    assert missing["unavailable"] == "there is no .venv-peers with OpenVINO"
    for name in names[:2]:
        assert list(took[name]) == [*(f"milliseconds_{batch}" for batch in BATCHES), "mixed"]
        assert min(took[name].values()) > 0
    assert all(process.poll() is not None for process in family)


def test_without_the_exact_one_there_is_nothing_to_compare(folder, monkeypatch):
    monkeypatch.setattr(engines, "PYTHON", Path("/nowhere/.venv-peers/bin/python"))
    with ExitStack() as stack, pytest.raises(BenchmarkError, match="OpenVINO, int8 cannot compute"):
        classify([Worker("OpenVINO, int8", folder, stack)], folder, np.zeros(PICTURES, np.int64), 1.0, Console())


def test_differences_are_of_probabilities():
    exact = probabilities(np.log(np.array([[0.5] + [0.5 / 9] * 9, [0.1] * 10, [0.91] + [0.01] * 9], np.float32)), 1.0)
    other = exact.copy()
    other[1, [0, 3]] = 0.05, 0.15
    found = compared(exact, other, np.array([0, 3, 1]))
    assert found == {"accuracy": 0.66667, "same_answers": 0.66667, "largest_difference": 0.05}


def test_speed_alone_is_measured_for_answers_of_the_same_weights_only(tmp_path):
    results = tmp_path / "engines.json"
    with pytest.raises(BenchmarkError, match="without --speed first"):
        kept(results, "abc")
    write_json(results, {"sha256": "abc", "rows": []})
    assert kept(results, "abc")["rows"] == []
    with pytest.raises(BenchmarkError, match="without --speed first"):
        kept(results, "abd")


def document():
    def row(name, accuracy, milliseconds):
        times = {f"milliseconds_{batch}": milliseconds * batch for batch in BATCHES}
        if name not in COMPILED:
            times |= {"mixed": 700.0}
        cost = {"start_seconds": 0.5, "megabytes": 100}
        figures = {"accuracy": accuracy, "same_answers": 1.0, "largest_difference": 0.0}
        return {"name": name, "library": "library 1"} | figures | times | cost

    return {
        "made_by": {"commit": "0123456789abcdef"},
        "processor": "a processor",
        "pictures": 10_000,
        "rounds": 3,
        "seconds": 2,
        "rows": [
            row(EXACT, 0.95, 10.0),
            {"name": "torch.compile, float32", "unavailable": "there is no compiler"},
            row(SERVED, 0.9492, 1.25),
            row("torch.compile, bfloat16", 0.95, 2.0),
            row("OpenVINO, int8", 0.9389, 1.0),
        ],
    }


def test_the_table_says_what_was_not_measured(tmp_path):
    write_json(tmp_path / "engines.json", document())
    table = report.write(tmp_path / "engines.json").read_text()
    assert "| torch.compile, float32 | not measured: there is no compiler | |" in table
    served = "| ONNX Runtime, int8 (library 1), served | 800 | 1.25 | 800 | 10.00 | 700 | 0.5 | 100 | 94.92% | 100.00% "
    assert f"{served}| 0.0000 |" in table
    assert "| torch.compile, bfloat16 (library 1) | 500 | 2.00 | 500 | 16.00 |  | 0.5 | 100 | 95.00% |" in table
    assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1


def test_the_committed_table_is_that_of_the_committed_results(tmp_path):
    copy = tmp_path / RESULTS.name
    copy.write_bytes(RESULTS.read_bytes())
    assert report.write(copy).read_text() == RESULTS.with_suffix(".md").read_text()


def test_the_committed_results_are_of_every_engine_and_all_test_pictures():
    results = json.loads(RESULTS.read_text())
    assert [row["name"] for row in results["rows"]] == list(KINDS)
    assert results["pictures"] == 10_000


def test_the_readme_states_the_committed_results():
    results = report.Engines(json.loads(RESULTS.read_text()))
    readme = " ".join((RESULTS.parent.parent / "README.md").read_text().split())
    rates = {name: f"{results.rate(name, 8):,.0f}" for name in results.rows}
    accuracy = {name: f"{results.rows[name]['accuracy']:.2%}" for name in results.rows}
    fastest, any_number = "OpenVINO, int8, the rest in bfloat16", "OpenVINO, the same compiled for any number"
    rows = results.rows
    more = rows[fastest]["megabytes"] - rows[SERVED]["megabytes"]
    for words in (
        f"this one computes {rates[SERVED]} a second where torch computes {rates[EXACT]} in float32",
        f"gets {accuracy[SERVED]} of the test pictures right where torch gets {accuracy[EXACT]}",
        f"OpenVINO computes {rates['OpenVINO, int8']} from the same file, {rates[fastest]} with the float32 layers",
        f"takes a worker {rows[fastest]['start_seconds']:.1f} s at each start, where ONNX Runtime takes "
        f"{rows[SERVED]['start_seconds']:.1f} s, and {more} MB more",
        f"OpenVINO computes {rows[any_number]['mixed']:,.0f} a second of 1 to 8 pictures as they come, ONNX Runtime "
        f"{rows[SERVED]['mixed']:,.0f}: too little for "
        f"{rows[any_number]['start_seconds'] - rows[SERVED]['start_seconds']:.1f} s and "
        f"{rows[any_number]['megabytes'] - rows[SERVED]['megabytes']} MB more",
    ):
        assert words in readme
