"""The whole recipe on small data: train, stop, resume, publish, evaluate."""

import io
import json
import signal
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from model.manifest import Manifest, sha256_of
from training import evaluate, publish, train
from training.data import DataError
from training.settings import Settings, parse


@pytest.fixture
def console():
    return Console(file=io.StringIO())


@pytest.fixture
def settings(tmp_path):
    return Settings(
        run=tmp_path / "run", epochs=3, batch_size=20, widths=(8, 16, 16), shift=2, threads=1, install="never"
    )


def weights(run, epoch):
    return load_file(run / "epochs" / f"{epoch:03}.safetensors")


def test_it_learns_what_is_easy(settings, tiny, console):
    assert train.train(replace(settings, epochs=6), tiny, console)
    rows = json.loads((settings.run / "progress.json").read_text())
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert rows[-1]["validation_accuracy"] > 0.5


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(settings, tiny, console, tmp_path, monkeypatch):
    assert train.train(settings, tiny, console)

    stopped = replace(settings, run=tmp_path / "stopped")
    steps = 0
    step = train.Training.step

    def interrupted(self):
        nonlocal steps
        step(self)
        steps += 1
        if steps == 14:  # in the middle of the second epoch, which has ten steps
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(train.Training, "step", interrupted)
    assert not train.train(stopped, tiny, console)
    assert json.loads((stopped.run / "progress.json").read_text())[-1]["epoch"] == 1
    assert train.train(stopped, tiny, console)

    for name, value in weights(settings.run, 3).items():
        assert torch.equal(value, weights(stopped.run, 3)[name]), name
    assert (settings.run / "progress.json").read_text() == (stopped.run / "progress.json").read_text()


def test_a_finished_run_is_left_as_it_is(settings, tiny, console):
    train.train(settings, tiny, console)
    before = (settings.run / "epochs" / "003.safetensors").stat().st_mtime_ns
    assert train.train(settings, tiny, console)
    assert (settings.run / "epochs" / "003.safetensors").stat().st_mtime_ns == before


def test_other_settings_do_not_continue_a_run(settings, tiny, console):
    train.train(replace(settings, epochs=1), tiny, console)
    with pytest.raises(train.ResumeError, match="epochs"):
        train.train(settings, tiny, console)


def test_too_few_pictures_for_a_batch_are_said(settings, tiny, console):
    with pytest.raises(DataError, match="201"):
        train.train(replace(settings, batch_size=201), tiny, console)


def test_settings_are_saved_beside_the_results(settings, tiny, console):
    train.train(replace(settings, epochs=1), tiny, console)
    saved = json.loads((settings.run / "settings.json").read_text())
    assert saved["settings"]["widths"] == [8, 16, 16]
    assert {"commit", "python", "libraries", "hardware"} == set(saved["made_by"])


@pytest.mark.parametrize(
    "arguments",
    [["--epochs", "3x"], ["--no-such", "1"], ["--epochs", "0"], ["--widths", "1", "2"], ["--install", "maybe"]],
)
def test_a_wrong_setting_ends_with_a_sentence(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        parse(arguments)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.fixture
def published(settings, tiny, console, tmp_path, monkeypatch):
    """A run that is installed into folders of its own."""
    served = {"WEIGHTS_PATH": tmp_path / "weights.safetensors", "MANIFEST_PATH": tmp_path / "manifest.json"}
    for module in (publish, evaluate):
        for name, path in served.items():
            monkeypatch.setattr(module, name, path)
        monkeypatch.setattr(module, "PLOTS_FOLDER", tmp_path / "plots")
    read = Manifest.read
    monkeypatch.setattr(Manifest, "read", lambda path=served["MANIFEST_PATH"]: read(path))
    settings = replace(settings, install="better")
    train.train(settings, tiny, console)
    publish.publish(settings, tiny, console)
    return settings, served


def test_publishing_leaves_manifest_weights_and_plots(published, tmp_path):
    _, served = published
    document = json.loads(served["MANIFEST_PATH"].read_text())
    assert document["sha256"] == sha256_of(served["WEIGHTS_PATH"])
    assert document["metrics"]["test"]["pictures"] == 100
    assert document["training"]["settings"]["epochs"] == 3
    assert document["training"]["seconds"] >= 0
    assert document["network"]["multiply_accumulates"] > 0
    assert {"train_loss", "validation_accuracy", "test_loss", "test_accuracy"} < set(document["history"][-1])
    assert len(document["scope"]["quantiles"]) == 201
    assert 0.03 <= document["metrics"]["validation"]["refused"] <= 0.07
    plots = {path.name for path in (tmp_path / "plots").iterdir()}
    assert plots == {"loss.png", "accuracy.png", "confusion-matrix.png", "f1-by-class.png"}


def test_a_worse_run_does_not_replace_the_served_weights(published, tiny, console):
    settings, served = published
    document = json.loads(served["MANIFEST_PATH"].read_text())
    document["metrics"]["validation"]["accuracy"] = 1.01
    served["MANIFEST_PATH"].write_text(json.dumps(document))
    before = served["MANIFEST_PATH"].read_text()
    publish.publish(settings, tiny, console)
    assert served["MANIFEST_PATH"].read_text() == before
    publish.publish(replace(settings, install="always"), tiny, console)
    assert served["MANIFEST_PATH"].read_text() != before


def test_evaluating_again_gives_the_same_bytes(published, tiny, tmp_path, monkeypatch):
    _, served = published
    files = [served["MANIFEST_PATH"], *(tmp_path / "plots").iterdir()]
    before = [path.read_bytes() for path in files]
    monkeypatch.setattr(evaluate, "load", lambda _: tiny)
    monkeypatch.setattr("sys.argv", ["evaluate"])
    evaluate.main()
    assert [path.read_bytes() for path in files] == before


def test_weights_that_are_not_the_manifests_are_said_loudly_and_nothing_is_written(published, tiny, monkeypatch):
    _, served = published
    served["WEIGHTS_PATH"].write_bytes(served["WEIGHTS_PATH"].read_bytes() + b"\x00")
    before = served["MANIFEST_PATH"].read_text()
    monkeypatch.setattr(evaluate, "load", lambda _: tiny)
    monkeypatch.setattr("sys.argv", ["evaluate"])
    with pytest.raises(SystemExit, match=r"(?s)!!!!.*SHA-256.*Nothing was written"):
        evaluate.main()
    assert served["MANIFEST_PATH"].read_text() == before
