import csv
import hashlib
import importlib
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from model.labels import LABELS
from training import data
from training.pictures import png


def write_kaggle(folder, name, split):
    (folder / name).mkdir(parents=True)
    with (folder / f"{name}Labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "label"])
        for index, (image, label) in reversed(list(enumerate(zip(split.images, split.labels, strict=True)))):
            table.writerow([index + 1, LABELS[label]])
            Image.fromarray(image).save(folder / name / f"{index + 1}.png")


def write_torchvision(folder, train, test):
    """The extracted form of the published download, small; its checksums are the published ones' business."""
    base = folder / "cifar-10-batches-py"
    base.mkdir(parents=True)

    def batch(split):
        rows = split.images.transpose(0, 3, 1, 2).reshape(len(split), -1)
        return {"data": rows, "labels": split.labels.tolist()}

    parts = np.array_split(np.arange(len(train)), 5)
    for number, part in enumerate(parts, 1):
        (base / f"data_batch_{number}").write_bytes(pickle.dumps(batch(train.take(part))))
    (base / "test_batch").write_bytes(pickle.dumps(batch(test)))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": list(LABELS)}))


def same(first, second):
    return np.array_equal(first.images, second.images) and np.array_equal(first.labels, second.labels)


def test_every_source_gives_the_same_arrays(npz, tmp_path, monkeypatch):
    train, test = data.read(npz)
    write_kaggle(tmp_path / "kaggle", "train", train)
    write_kaggle(tmp_path / "kaggle", "test", test)
    write_torchvision(tmp_path / "torchvision", train, test)
    datasets = data._torchvision_datasets()
    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda _: True)
    monkeypatch.setattr(importlib.import_module("torchvision.datasets.cifar"), "check_integrity", lambda *_: True)
    for source in (npz.parent, tmp_path / "kaggle", tmp_path / "torchvision"):
        other_train, other_test = data.read(source)
        assert same(train, other_train), source
        assert same(test, other_test), source


def test_kaggles_unlabelled_test_pictures_are_left_out(npz, tmp_path):
    train, _ = data.read(npz)
    write_kaggle(tmp_path, "train", train)
    assert len(data.load(tmp_path).test) == 0


def test_the_split_is_stratified_fixed_and_whole(npz):
    first, second = data.load(npz), data.load(npz)
    assert same(first.validation, second.validation)
    assert np.bincount(first.validation.labels).tolist() == [2] * 10
    everything = np.concatenate([first.train.images, first.validation.images])
    development, _ = data.read(npz)
    assert sorted(image.tobytes() for image in everything) == sorted(image.tobytes() for image in development.images)


def test_the_split_of_the_whole_data_set_never_changes():
    """The served weights were chosen by this very split; another one would leak validation into training."""
    labels = np.arange(50_000, dtype=np.uint8) % 10
    _, validation = data.split_indices(labels)
    assert len(validation) == 5_000
    digest = hashlib.sha256(validation.astype("<i8").tobytes()).hexdigest()
    assert digest == "1e270a520eeee01f03dafa5d5d1af69c355712226b5b6ee87e814c749c4635c1"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train_images": None}, "lacks train_images"),
        ({"train_images": np.zeros((200, 3, 32, 32), np.uint8)}, "of shape"),
        ({"train_images": np.zeros((200, 32, 32, 3), np.float32)}, "float32"),
        ({"train_labels": np.zeros(199, np.uint8)}, "200 pictures"),
        ({"train_labels": np.full(200, 10, np.uint8)}, "0 to 9, found 10"),
        ({"train_labels": np.full(200, -1, np.int64)}, "0 to 9, found -1"),
        ({"train_labels": np.arange(200) % 10 / 1.0}, "whole numbers, not float64"),
        ({"train_labels": np.r_[0, np.arange(199) % 9 + 1]}, "too few training pictures to set a tenth of each class"),
    ],
)
def test_an_archive_that_is_not_cifar10_is_named(npz, tmp_path, change, words):
    with np.load(npz) as archive:
        arrays = {name: archive[name] for name in archive.files} | change
    path = tmp_path / "cifar10.npz"
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(data.DataError, match=words):
        data.load(path)


@pytest.mark.parametrize("damage", [lambda _: b"", lambda _: b"not an archive", lambda whole: whole[: len(whole) // 2]])
def test_a_damaged_archive_is_named(npz, tmp_path, damage):
    path = tmp_path / "cifar10.npz"
    path.write_bytes(damage(npz.read_bytes()))
    with pytest.raises(data.DataError, match=r"cifar10\.npz is no \.npz archive, or a damaged one"):
        data.load(path)


def test_a_damaged_picture_in_an_archive_is_named(npz, tmp_path):
    path = tmp_path / "cifar10.npz"
    whole = bytearray(npz.read_bytes())
    whole[10_000] ^= 255
    path.write_bytes(whole)
    with pytest.raises(data.DataError, match="damaged"):
        data.load(path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("trainLabels.csv", b"picture,class\n1,cat\n", "the columns id and label"),
        ("trainLabels.csv", b"", "the columns id and label"),
        ("trainLabels.csv", b"id,label\n", "too few training pictures"),
        ("trainLabels.csv", b"id,label\n1,cat\n2,dog\n", "too few training pictures"),
        ("trainLabels.csv", b"id,label\none,cat\n", "an id that is no number"),
        ("trainLabels.csv", b"id,label\n1\n", "not CIFAR-10's: None"),
        ("train/1.png", b"not a picture", r"1\.png is no picture"),
        ("train/1.png", png(np.zeros((1, 1, 3), np.uint8)), r"1\.png is 1 x 1 pixels"),
        ("train/1.png", png(np.zeros((32, 32, 3), np.uint8))[:60], r"1\.png is no picture"),
    ],
)
def test_what_is_wrong_in_kaggles_layout_is_named(npz, tmp_path, name, content, words):
    write_kaggle(tmp_path, "train", data.read(npz)[0])
    (tmp_path / name).write_bytes(content)
    with pytest.raises(data.DataError, match=words):
        data.load(tmp_path)


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(data.DataError, match=r"no .*none\.npz"):
        data.load(tmp_path / "none.npz")


def test_a_failed_download_says_what_else_can_be_done(tmp_path, monkeypatch):
    datasets = data._torchvision_datasets()

    def fail(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(datasets.CIFAR10, "download", fail)
    with pytest.raises(data.DataError, match=r"no route.*cifar10\.npz"):
        data.load(tmp_path)


def test_the_command_prints_counts_and_writes_a_sheet(npz, tmp_path, monkeypatch, capsys):
    sheet = tmp_path / "sheet.png"
    monkeypatch.setattr(sys, "argv", ["data", "--data", str(npz), "--sheet", str(sheet)])
    data.main()
    printed = capsys.readouterr().out
    assert "180 pictures" in printed
    assert "truck 18" in printed
    with Image.open(sheet) as image:
        assert image.size == (640, 640)
