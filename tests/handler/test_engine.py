"""The engines on the served network: the same answers, and the right one for the machine."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from handler import engine
from handler.engine import Float32Engine, Int8Engine, UnavailableError, has_dot_products, open_engine
from model.classifier import Classifier
from model.manifest import INT8_PATH, WEIGHTS_PATH, Manifest, WeightsError

SAMPLES = sorted((Path(__file__).parent.parent.parent / "gateway" / "static" / "samples").iterdir())

needs_int8 = pytest.mark.skipif(not has_dot_products(), reason="this CPU has no dot products of 8-bit integers")


@pytest.fixture(scope="module")
def manifest():
    return Manifest.read()


@pytest.fixture(scope="module")
def float32(manifest):
    return open_engine(WEIGHTS_PATH, manifest, 1, "float32")[0]


def answers(engine, manifest):
    classifier = Classifier(engine, manifest)
    return classifier.classify([classifier.read(path.read_bytes()) for path in SAMPLES])


@needs_int8
def test_eight_bits_answer_like_the_weights(manifest, float32):
    int8, reason = open_engine(WEIGHTS_PATH, manifest, 1)
    assert (type(int8), reason) == (Int8Engine, "")
    for quick, exact in zip(answers(int8, manifest), answers(float32, manifest), strict=True):
        assert quick["label"] == exact["label"]
        assert quick["score"] == pytest.approx(exact["score"], abs=0.1)


@needs_int8
def test_a_picture_gets_nearly_the_same_answer_alone_and_in_a_batch(manifest):
    int8, _ = open_engine(WEIGHTS_PATH, manifest, 2)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, int8.side, int8.side), dtype=np.uint8)
    alone = np.concatenate([int8.outputs(each[None]) for each in pixels])
    assert np.allclose(int8.outputs(pixels), alone, atol=1e-4)


def test_a_cpu_without_the_instructions_gets_the_weights_and_is_told_why(manifest, float32, monkeypatch):
    monkeypatch.setattr(engine, "has_dot_products", lambda: False)
    chosen, reason = open_engine(WEIGHTS_PATH, manifest, 1)
    assert type(chosen) is Float32Engine
    assert reason == "this CPU has no dot products of 8-bit integers"
    assert answers(chosen, manifest) == answers(float32, manifest)
    with pytest.raises(UnavailableError, match="dot products"):
        open_engine(WEIGHTS_PATH, manifest, 1, "int8")


def test_where_onnx_runtime_is_missing_torch_computes(manifest, monkeypatch):
    monkeypatch.setattr(engine, "has_dot_products", lambda: True)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    chosen, reason = open_engine(WEIGHTS_PATH, manifest, 1)
    assert (type(chosen), reason) == (Float32Engine, "ONNX Runtime is not installed")


def test_weights_that_were_not_quantised_are_served_as_they_are(manifest):
    document = {name: value for name, value in manifest.document.items() if name != "int8"}
    chosen, reason = open_engine(WEIGHTS_PATH, Manifest.of(document, "manifest.json"), 1)
    assert (type(chosen), reason) == (Float32Engine, "these weights were not quantised")


@needs_int8
def test_another_network_than_the_manifests_is_refused(manifest, tmp_path):
    (tmp_path / INT8_PATH.name).write_bytes(INT8_PATH.read_bytes() + b"\x00")
    with pytest.raises(WeightsError, match="SHA-256"):
        open_engine(tmp_path / "weights.safetensors", manifest, 1)


def test_an_unknown_engine_is_named(manifest):
    with pytest.raises(ValueError, match="auto, int8, float32, not 'int4'"):
        open_engine(WEIGHTS_PATH, manifest, 1, "int4")


@pytest.mark.parametrize(
    ("lines", "has"),
    [
        ("flags\t\t: fpu sse avx2 avx512f avx512_vnni\n", True),
        ("flags\t\t: fpu avx2 avx_vnni\n", True),
        ("Features\t: fp asimd asimddp\n", True),
        ("flags\t\t: fpu sse avx2 avx512f\n", False),
        ("model name\t: asimddp avx_vnni\n", False),
    ],
)
def test_the_instructions_are_read_off_the_cpus_flags(lines, has, monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda _: lines)
    assert has_dot_products() is has


@needs_int8
def test_answering_in_eight_bits_needs_no_torch():
    code = (
        "import sys, json, numpy as np\n"
        "from handler.engine import open_engine\n"
        "from model.classifier import Classifier\n"
        "from model.images import Square\n"
        "from model.manifest import WEIGHTS_PATH, Manifest\n"
        "engine, _ = open_engine(WEIGHTS_PATH, Manifest.read(), 1)\n"
        "classifier = Classifier(engine, Manifest.read())\n"
        "classifier.classify([Square(np.zeros((3, engine.side, engine.side), np.uint8), 32)])\n"
        "import handler.classifier_handler\n"
        "print(json.dumps('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False
