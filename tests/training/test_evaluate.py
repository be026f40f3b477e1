"""What evaluation keeps of earlier figures, and what it says before it measures anything."""

import io
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from model.classifier import Classifier
from training import evaluate
from training.data import Cifar10, DataError, Split
from training.pictures import NONE, VARIED, Picture, png

PHOTOGRAPHS = [Picture(png(np.full((64, 64, 3), shade, np.uint8)), "cat") for shade in range(0, 250, 10)]


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def engine(monkeypatch):
    """A classifier that needs no weights; its engine's name can be changed."""
    engine = SimpleNamespace(name="one engine", side=32)
    engine.outputs = lambda pixels: pixels.reshape(len(pixels), -1)[:, :11].astype(np.float32) / 64
    monkeypatch.setattr(evaluate, "classifier_of", lambda manifest, _: Classifier(engine, manifest))
    return engine


@pytest.fixture
def before(engine, tiny, tmp_path, console):
    """A manifest with a scope threshold that photographs had their part in, and with figures of other pictures."""
    described = {"version": "1.0", "sha256": "", "input": {"detail": 64}}
    document, _ = evaluate.measured(described, tmp_path, tiny, console, PHOTOGRAPHS)
    return document | {"other_pictures": {"digits": {"auroc": 0.9}}}


def again(document, data, console):
    measured, _ = evaluate.measured(document, Path(), data, console)
    evaluate.drop_stale(measured, document, console)
    return measured


def test_under_the_same_conditions_all_stays_and_nothing_is_said(before, tiny, console):
    assert again(before, tiny, console) == before
    assert before["scope"]["photographs"] == len(PHOTOGRAPHS)
    assert console.file.getvalue().strip() == ""


def test_with_another_engine_other_pictures_go_and_the_scope_says_what_it_was_fitted_with(
    before, engine, tiny, console, tmp_path
):
    engine.name = "another engine"
    after = again(before, tiny, console)
    assert "other_pictures" not in after
    assert after["scope"] == before["scope"] | {"fitted_under": evaluate.conditions(before)}
    said = console.file.getvalue()
    assert "fitted with one engine" in said
    assert "--scope-photographs fits it anew" in said
    assert "--photographs measures them anew" in said

    assert again(after, tiny, console)["scope"] == after["scope"]
    assert console.file.getvalue().count("--scope-photographs") == 2  # it is said until it is mended
    mended, _ = evaluate.measured(after, tmp_path, tiny, console, PHOTOGRAPHS)
    assert "fitted_under" not in mended["scope"]
    engine.name = "one engine"
    assert again(after, tiny, console)["scope"] == before["scope"]


@pytest.mark.parametrize("change", [{"calibration": {"temperature": 9.0}}, {"int8": {"sha256": "others"}}])
def test_another_temperature_or_quantised_network_is_another_condition(before, change, console):
    document = before | change
    evaluate.drop_stale(document, before, console)
    assert "other_pictures" not in document


def test_refused_is_by_the_scope_threshold_that_is_kept(before, tiny, console):
    after = again(before | {"scope": before["scope"] | {"threshold": 0.5}}, tiny, console)
    assert after["scope"]["threshold"] == 0.5
    least, more = (document["metrics"]["validation"]["refused"] for document in (before, after))
    assert least < 0.2 < more


def test_the_smaller_a_picture_the_less_photographs_count(engine, tiny, tmp_path, console, monkeypatch):
    """Photographs are told from validation pictures here by their scores, which are all lower."""
    monkeypatch.setattr(evaluate, "scope_scores", lambda outputs: outputs[:, 0])
    dark = [Picture(png(np.zeros((64, 64, 3), np.uint8)), "cat")]
    bright = Split(np.full_like(tiny.validation.images, 255), tiny.validation.labels)
    described = {"version": "1.0", "sha256": "", "input": {"detail": 64}}
    document, _ = evaluate.measured(described, tmp_path, Cifar10(tiny.train, bright, tiny.test), console, dark)
    rows = np.array(document["scope"]["quantiles"])
    below = (rows < rows.max() / 2).mean(1)
    assert document["scope"]["sides"] == [8, 16, 24, 32, 48, 64]
    assert below == pytest.approx([1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2], abs=0.01)


def test_photographs_are_measured_once_more_at_the_size_of_cifar10s(before, tiny, tmp_path, console):
    others = {"mine": [*PHOTOGRAPHS, *(Picture(each.data, NONE) for each in PHOTOGRAPHS)]}
    test = torch.zeros(len(tiny.test), 11)
    figures = evaluate.measured_on_others(before, tmp_path, test, others, console)
    assert {"mine", "mine at 32 pixels", "noise"} <= set(figures)
    assert figures["mine"]["auroc"] == 0.5
    assert set(figures["mine at 32 pixels"]) - set(figures["mine"]) == {"auroc_of_test"}
    evaluate.report_others(figures, console)
    assert "AUROC of test pictures against 25 others" in console.file.getvalue()


def test_whatever_becomes_of_pictures_is_measured(before, tiny, tmp_path, console, monkeypatch):
    exactly = partial(Image.Image.resize, size=(64, 64), resample=Image.Resampling.NEAREST)  # larger ones are shrunk
    monkeypatch.setitem(VARIED, "twice as large", exactly)
    figures = evaluate.measured_varied(before, tmp_path, tiny.test, console)
    as_they_are = {name: before["metrics"]["test"][name] for name in ("pictures", "accuracy", "refused")}
    assert figures["test pictures twice as large"] == as_they_are
    assert figures["test pictures in grey"] != as_they_are
    evaluate.report_others(figures, console)
    assert "test pictures in grey: 100 of the ten" in console.file.getvalue()


def test_with_another_scope_threshold_other_pictures_go(before, console):
    document = before | {"scope": before["scope"] | {"quantiles": [[0.0, 1.0]]}}
    evaluate.drop_stale(document, before, console)
    assert "other_pictures" not in document


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PHOTOGRAPHS[0].data)
    return folder


def test_photographs_of_the_same_name_and_without_any_of_the_ten_are_said(tmp_path):
    places = [write(tmp_path / place / "mine" / "photos", "cat/1.png", "none/2.png") for place in ("one", "two")]
    assert list(evaluate.photographs_by_name(places[:1])) == ["mine/photos"]
    with pytest.raises(DataError, match="would be called mine/photos"):
        evaluate.photographs_by_name(places)
    assert [picture.label for picture in evaluate.of_the_ten(places[0])] == ["cat"]
    with pytest.raises(DataError, match="shows none of the ten"):
        evaluate.of_the_ten(write(tmp_path / "others", f"{NONE}/1.png"))


def run(monkeypatch, data, *arguments):
    monkeypatch.setattr(evaluate, "load", lambda _: data)
    monkeypatch.setattr(evaluate, "measured", lambda *_: pytest.fail("it was measured"))
    monkeypatch.setattr(evaluate, "accuracy_through_service", lambda *_: pytest.fail("the service was asked"))
    monkeypatch.setattr(evaluate, "evaluate_corruptions", lambda *_: pytest.fail("corruptions were measured"))
    monkeypatch.setattr("sys.argv", ["evaluate", *arguments])
    evaluate.main()


@pytest.mark.parametrize("arguments", [[], ["--corruptions"], ["--service", "http://127.0.0.1:1"]])
def test_a_source_without_labelled_test_pictures_is_said_first(tiny, monkeypatch, arguments):
    nothing = Split(tiny.test.images[:0], tiny.test.labels[:0])
    with pytest.raises(SystemExit, match="no labelled test pictures"):
        run(monkeypatch, Cifar10(tiny.train, tiny.validation, nothing), *arguments)


@pytest.mark.parametrize("option", ["--photographs", "--scope-photographs"])
def test_photographs_are_read_before_anything_is_measured(tiny, monkeypatch, tmp_path, option):
    with pytest.raises(SystemExit, match="no folder or zip file"):
        run(monkeypatch, tiny, option, str(tmp_path / "nowhere"))
