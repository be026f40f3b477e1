"""Archives that are refused before TorchServe sees them."""

import json
import zipfile

import pytest

from model.manifest import MANIFEST_PATH
from operations.archive import Archive
from operations.errors import Refused
from tests.operations.conftest import BETTER

DOCUMENT = json.loads(MANIFEST_PATH.read_text())


def rewritten(source, target, **replaced):
    """Copy an archive with other contents for some of its files; their names' dots and slashes are written _ here."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            change = replaced.pop(name.replace(".", "_").replace("/", "_").replace("-", "_"), None)
            new.writestr(name, change(data) if change else data)
    assert not replaced
    return target


def edited(**members):
    return lambda data: json.dumps(json.loads(data) | members)


def edited_model(**members):
    return lambda data: json.dumps({"model": json.loads(data)["model"] | members})


def test_a_good_archive_says_what_it_holds(archives):
    archive = Archive.read(archives[BETTER])
    assert (archive.version, archive.accuracy) == (BETTER, DOCUMENT["metrics"]["validation"]["accuracy"])
    assert archive.sha256 != DOCUMENT["sha256"]


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("weights_safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1]), "do not use this archive"),
        ("int8_onnx", lambda data: data + b"0", "int8.onnx in .* do not use this archive"),
        ("manifest_json", edited(version="3.0"), "its manifest says 3.0"),
        ("manifest_json", lambda _: b"{", "not an archive that this project packed"),
        ("manifest_json", lambda _: b"[]", "not an archive that this project packed"),
        ("manifest_json", edited(metrics=None), "not an archive that this project packed"),
        ("MAR_INF_MANIFEST_json", edited_model(modelName="dogs"), "holds the model dogs"),
        ("MAR_INF_MANIFEST_json", edited_model(modelVersion="1.0.1"), "use a number"),
        ("MAR_INF_MANIFEST_json", edited_model(modelVersion="0.0"), "use a number"),
        ("MAR_INF_MANIFEST_json", edited_model(modelVersion="../1"), "use a number"),
        ("MAR_INF_MANIFEST_json", edited_model(serializedFile="none"), "not an archive that this project packed"),
    ],
)
def test_parts_that_do_not_belong_together(archives, tmp_path, file, change, words):
    path = rewritten(archives[BETTER], tmp_path / "changed.mar", **{file: change})
    with pytest.raises(Refused, match=words):
        Archive.read(path)


def test_a_file_that_is_no_archive(tmp_path):
    path = tmp_path / "text.mar"
    path.write_text("This is a letter.")
    with pytest.raises(Refused, match="not an archive that this project packed"):
        Archive.read(path)


def test_an_archive_cut_short_or_with_a_flipped_bit(archives, tmp_path):
    data = archives[BETTER].read_bytes()
    cut, flipped = tmp_path / "cut.mar", tmp_path / "flipped.mar"
    cut.write_bytes(data[: len(data) // 2])
    middle = len(data) // 2
    flipped.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    with pytest.raises(Refused, match="not an archive"):
        Archive.read(cut)
    with pytest.raises(Refused, match=r"damaged at weights\.safetensors"):
        Archive.read(flipped)


def test_an_archive_that_would_write_elsewhere(archives, tmp_path):
    path = tmp_path / "escaping.mar"
    path.write_bytes(archives[BETTER].read_bytes())
    with zipfile.ZipFile(path, "a") as bundle:
        bundle.writestr("../../escaped.py", "")
    with pytest.raises(Refused, match="outside its folder"):
        Archive.read(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(Refused, match=r"there is no file .*nothing\.mar"):
        Archive.read(tmp_path / "nothing.mar")
