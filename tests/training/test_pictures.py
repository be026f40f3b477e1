"""Photographs as people have them: what is read, what is left out, and what is said of the rest."""

import zipfile

import numpy as np
import pytest

from training.data import DataError
from training.pictures import NONE, files_in, photographs, png

PICTURE = png(np.zeros((40, 50, 3), np.uint8))


def write(folder, *names, **others):
    """Put a picture under each name, and what is given beside it."""
    for name, content in dict.fromkeys(names, PICTURE).items() | others.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_hidden_and_unreadable_files_are_left_out(tmp_path):
    write(tmp_path / "photos", "cat/1.png", "none/2.png", "cat/.hidden.png", "__MACOSX/cat/3.png")
    write(
        tmp_path / "photos", **{".DS_Store": b"x", "cat/.DS_Store": b"x", "cat/notes.txt": b"x", "more/notes.txt": b"x"}
    )
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in ("cat/1.png", "none/2.png", "cat/._1.png", "__MACOSX/cat/._1.png"):
            archive.writestr(name, PICTURE)
    for path in (tmp_path / "photos", tmp_path / "photos.zip"):
        assert [picture.label for picture in photographs(path)] == ["cat", NONE], path
        assert not any("MACOSX" in name or "/." in name for name, _ in files_in(path))


def test_photographs_that_do_not_lie_in_folders_of_classes_are_said(tmp_path):
    with pytest.raises(DataError, match=r"as CLASS/NAME in .*airplane, automobile.* or none"):
        photographs(write(tmp_path / "flat", "1.png", "2.png"))
    with pytest.raises(DataError, match="'zebra' is neither one of the ten"):
        photographs(write(tmp_path / "other", "zebra/1.png"))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("wnid,class\nn01,cat\n", "needs a column cifar10"),
        ("", "needs a column cifar10"),
        ("wnid,cifar10\nn01,Cat\n", "says 'Cat' of n01; give one of the ten, none or ambiguous"),
        ("wnid,cifar10\nn01\n", "says None of n01"),
    ],
)
def test_a_wrong_table_of_classes_is_said(tmp_path, table, words):
    write(tmp_path, "n01/1.png", **{"classes.csv": table.encode()})
    with pytest.raises(DataError, match=words):
        photographs(tmp_path)


def test_a_table_of_classes_translates(tmp_path):
    write(tmp_path, "n01/1.png", "n02/2.png", **{"classes.csv": b"wnid,cifar10\nn01,cat\nn02,ambiguous\n"})
    assert [picture.label for picture in photographs(tmp_path)] == ["cat"]
