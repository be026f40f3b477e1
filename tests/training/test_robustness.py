"""The served network on a few of CIFAR-10's pictures, corrupted."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from rich.console import Console

from handler import engine
from model.classifier import class_logits
from model.manifest import MANIFEST_PATH, WEIGHTS_PATH, Manifest
from training import corruptions, evaluate, robustness
from training.corruptions import CORRUPTIONS, Corruption
from training.data import Cifar10

WORKS = robustness._right


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """What a measurement writes goes elsewhere."""
    monkeypatch.setattr(robustness, "UNFINISHED", tmp_path / "runs" / "robustness.json")
    monkeypatch.setattr(evaluate, "MANIFEST_PATH", tmp_path / "manifest.json")
    monkeypatch.setattr(evaluate, "PLOTS_FOLDER", tmp_path)


@pytest.fixture
def few(hundred):
    return hundred.take(np.arange(10))


@pytest.fixture
def two_corruptions(monkeypatch):
    two = {name: CORRUPTIONS[name] for name in ("contrast", "frost")}
    for module in (corruptions, robustness):
        monkeypatch.setattr(module, "CORRUPTIONS", two)


def measure(split):
    return robustness.measure_robustness(Manifest.read(), WEIGHTS_PATH, split, Console(file=io.StringIO()))


def run_evaluate(monkeypatch, split, *arguments):
    monkeypatch.setattr(evaluate, "load", lambda _: Cifar10(split, split, split))
    monkeypatch.setattr("sys.argv", ["evaluate", "--corruptions", *arguments])
    evaluate.main()


def test_the_command_adds_the_figures_to_the_manifest_and_draws_them(few, tmp_path, monkeypatch, capsys):
    run_evaluate(monkeypatch, few)
    document = json.loads((tmp_path / "manifest.json").read_text())
    figures = document.pop("robustness")
    before = Manifest.read().document
    before.pop("robustness", None)
    assert document == before
    assert figures["pictures"] == 10
    assert figures["by_corruption"].keys() == CORRUPTIONS.keys()
    shares = [share for each in figures["by_corruption"].values() for share in each]
    assert len(shares) == 75
    assert figures["accuracy"] == pytest.approx(sum(shares) / 75, abs=1e-5)
    assert 0.5 < figures["accuracy"] <= 1
    assert f"mean accuracy {figures['accuracy']:.2%} over 15 corruptions" in capsys.readouterr().out
    assert (tmp_path / "robustness.png").exists()
    assert not robustness.UNFINISHED.exists()


def test_a_limit_measures_so_many_and_writes_nothing(hundred, two_corruptions, tmp_path, monkeypatch, capsys):
    run_evaluate(monkeypatch, hundred, "--limit", "5")
    assert "5 test pictures each" in capsys.readouterr().out
    assert not robustness.UNFINISHED.exists()
    assert not (tmp_path / "manifest.json").exists()
    assert not (tmp_path / "robustness.png").exists()


def test_a_limited_measurement_leaves_a_stopped_one_as_it_is(hundred, monkeypatch):
    nothing = {"nothing": Corruption(lambda pictures, *_: pictures, (0,) * 5)}
    for module in (corruptions, robustness):
        monkeypatch.setattr(module, "CORRUPTIONS", nothing)
    robustness.UNFINISHED.parent.mkdir()
    robustness.UNFINISHED.write_text("an hour's work")
    run_evaluate(monkeypatch, hundred, "--limit", "5")
    assert robustness.UNFINISHED.read_text() == "an hour's work"


def test_a_limit_that_means_nothing_is_said(monkeypatch, capsys):
    for arguments in (["--corruptions", "--limit", "-1"], ["--limit", "5"]):
        monkeypatch.setattr("sys.argv", ["evaluate", *arguments])
        with pytest.raises(SystemExit):
            evaluate.main()
        assert "together with --corruptions" in capsys.readouterr().err


def test_pictures_left_as_they_are_give_the_accuracy_of_clean_ones(hundred, monkeypatch):
    nothing = {"nothing": Corruption(lambda pictures, *_: pictures, (0,) * 5)}
    for module in (corruptions, robustness):
        monkeypatch.setattr(module, "CORRUPTIONS", nothing)
    monkeypatch.setattr(robustness, "BATCH", 30)  # the last batch is a smaller one
    classifier = evaluate.classifier_of(Manifest.read(), WEIGHTS_PATH)
    outputs = evaluate.calibrated_outputs(classifier, hundred, Console(file=io.StringIO()), "clean")
    accuracy = (class_logits(outputs).argmax(1) == torch.from_numpy(hundred.labels)).double().mean().item()
    figures = measure(hundred)
    assert figures["by_corruption"] == {"nothing": [accuracy] * 5}
    assert figures["accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize("computes_int8", [True, False])
def test_every_core_has_a_batch_whichever_engine_computes(few, two_corruptions, monkeypatch, computes_int8):
    """The float32 engine leaves torch one thread, for each batch."""
    pools = []

    def pool(workers):
        pools.append(workers)
        return ThreadPoolExecutor(workers)

    monkeypatch.setattr(engine, "has_dot_products", lambda: computes_int8)
    monkeypatch.setattr(robustness, "ThreadPoolExecutor", pool)
    monkeypatch.setattr(robustness, "_right", lambda *_: 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        measure(few)
    finally:
        torch.set_num_threads(threads)
    assert pools == [3]


def test_a_measurement_that_was_stopped_goes_on_where_it_was(few, two_corruptions, monkeypatch):
    whole = measure(few)
    asked: list[tuple[str, int]] = []

    def stopping(classifier, name, severity, batch, number):
        if len(asked) == 7:
            raise KeyboardInterrupt
        asked.append((name, severity))
        return WORKS(classifier, name, severity, batch, number)

    monkeypatch.setattr(robustness, "_right", stopping)
    with pytest.raises(KeyboardInterrupt):
        measure(few)
    assert asked == [("contrast", each) for each in range(1, 6)] + [("frost", 1), ("frost", 2)]
    asked.clear()
    assert measure(few) == whole
    assert asked == [("frost", 3), ("frost", 4), ("frost", 5)]


def test_what_was_left_unfinished_under_other_conditions_is_not_taken_up(few, two_corruptions):
    robustness.UNFINISHED.parent.mkdir()
    conditions = robustness._conditions(Manifest.read(), "another engine", len(few))
    shares = {name: [0.0] * 5 for name in ("contrast", "frost")}
    robustness.UNFINISHED.write_text(json.dumps({"conditions": conditions, "shares": shares}))
    assert measure(few)["accuracy"] > 0


def test_the_served_manifest_has_figures_of_the_whole_test_set():
    figures = json.loads(MANIFEST_PATH.read_text())["robustness"]
    assert figures["pictures"] == 10_000
    assert figures["by_corruption"].keys() == CORRUPTIONS.keys()
    shares = [share for each in figures["by_corruption"].values() for share in each]
    assert figures["accuracy"] == pytest.approx(sum(shares) / len(shares), abs=1e-5)
