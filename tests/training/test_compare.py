"""The comparison on small data: train what is missing, stop, go on, remake to the byte; and what is committed."""

import io
import itertools
import json
import re
import shutil
import signal
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
from rich.console import Console

from model.manifest import Manifest
from model.networks import load_network
from tests.service import ROOT
from training import compare, comparison, plots, run
from training.__main__ import RECIPES
from training.data import DataError
from training.evaluate import NO_TEST_PICTURES
from training.lineup import LINEUP, START, VARIANTS, Entry
from training.reference import ReferenceSettings
from training.settings import parse

README = " ".join((ROOT / "README.md").read_text().split())
SMALL = ("--network", "CompactCnn", "--epochs", "2", "--batch-size", "45", "--threads", "1")
FIRST = Entry("first", "Compact CNN", "", "reference", SMALL)
SECOND = Entry("second", "Compact CNN", START, "reference", (*SMALL, "--no-dropout"))


def make_root(folder):
    """A project's folder with all that the comparison reads and nothing that it writes."""
    (folder / "model").mkdir(parents=True)
    (folder / "gateway").mkdir()
    shutil.copy(ROOT / "model" / "manifest.json", folder / "model")
    (folder / "README.md").write_text(f"# Before\n\n{comparison.BEGIN}\nold words\n{comparison.END}\n\nafter\n")
    return folder


def made(root):
    """Everything that the comparison makes, by name."""
    paths = [root / "README.md", root / "gateway" / "comparison.json", *(root / "plots").rglob("*.png")]
    return {path.relative_to(root): path.read_bytes() for path in paths}


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, npz):
    root = make_root(tmp_path_factory.mktemp("project") / "root")
    assert compare.train_missing([FIRST, SECOND], npz, root, Console(file=io.StringIO()))
    return root


def test_training_leaves_a_manifest_that_says_everything(trained):
    document = json.loads((trained / "training" / "manifests" / "second.json").read_text())
    assert document["compared"] == {"title": "Compact CNN", "variant": "from-scratch"}
    assert document["training"]["settings"]["dropout"] is False
    assert document["training"]["made_by"]["hardware"]
    assert {"train_loss", "validation_loss", "test_loss", "test_accuracy"} < set(document["history"][-1])
    assert sum(map(sum, document["metrics"]["test"]["confusion"])) == document["metrics"]["test"]["pictures"] == 50
    assert document["speed"]["milliseconds"] > 0
    assert document["speed"]["hardware"].startswith("one core of ")


def test_filing_one_times_all_of_them_side_by_side(trained, tmp_path):
    manifests = tmp_path / "training" / "manifests"
    shutil.copytree(trained / "training" / "manifests", manifests)
    first = json.loads((manifests / "first.json").read_text())
    first["speed"] = {"milliseconds": 0.0, "runs": 1, "hardware": "a slide rule"}
    (manifests / "first.json").write_text(json.dumps(first))
    compare.file(SECOND, trained / "runs" / "compare" / "second", tmp_path)
    one, other = (json.loads((manifests / f"{name}.json").read_text())["speed"] for name in ("first", "second"))
    assert one["milliseconds"] > 0
    assert (one["runs"], one["hardware"]) == (other["runs"], other["hardware"])


def test_small_weights_lie_beside_their_manifest(trained):
    manifest = Manifest.read(trained / "training" / "manifests" / "first.json")
    assert load_network(manifest, trained / "training" / "manifests" / "first.safetensors").describe() == {
        "batch_norm": True,
        "dropout": True,
    }


def test_the_readme_gets_its_table_and_keeps_the_rest(trained):
    readme = (trained / "README.md").read_text()
    assert readme.startswith("# Before\n")
    assert readme.endswith("\n\nafter\n")
    assert "old words" not in readme
    test = json.loads((trained / "training" / "manifests" / "first.json").read_text())["metrics"]["test"]
    [line] = [line for line in readme.splitlines() if line.startswith("| [Compact CNN](plots/first)")]
    assert f"| {100 * test['accuracy']:.2f} % |" in line
    assert "| 186,826 + 576 | 32 |" in line
    assert "(served)" not in readme


def test_the_served_network_is_marked_and_the_best_comes_first(trained):
    documents = comparison.read(trained / "training" / "manifests")
    documents["second"]["metrics"]["test"]["accuracy"] = 1.0
    rows = comparison.rows_of(documents)
    assert [row.name for row in rows] == ["second", "first"]
    text = comparison.section(rows, documents["second"])
    assert "[Compact CNN, from random weights](plots/second) (served)" in text
    assert text.count("(served)") == 1
    assert "8-bit" not in text
    documents["first"]["int8"] = {}
    text = comparison.section(comparison.rows_of(documents), documents["second"])
    assert "Accuracy and F1 in 8 bits, milliseconds in float32: Compact CNN.\n" in text


def test_remaking_gives_the_same_bytes(trained):
    before = made(trained)
    assert {"comparison.png", "loss.png", "accuracy.png", "confusion-matrix.png"} < {path.name for path in before}
    for path in before:
        if path.suffix == ".png":
            (trained / path).unlink()
    compare.remake(trained)
    assert made(trained) == before


def test_what_has_a_manifest_is_not_trained_again(trained, npz, console, monkeypatch):
    monkeypatch.setattr(compare, "start", lambda *_: pytest.fail("it is there"))
    assert compare.train_missing([FIRST, SECOND], npz, trained, console)
    said = console.file.getvalue()
    assert (
        "first: has a manifest, not trained again; delete training/manifests/first.json and runs/compare/first" in said
    )
    assert "second: has a manifest" in said


def test_what_was_deleted_as_it_says_is_trained_anew(trained, tmp_path, npz, console):
    root = tmp_path / "root"
    shutil.copytree(trained, root)
    (root / "training" / "manifests" / "first.json").unlink()
    shutil.rmtree(root / "runs" / "compare" / "first")
    assert compare.train_missing([FIRST, SECOND], npz, root, console)
    assert "epoch   2" in console.file.getvalue()
    assert (root / "training" / "manifests" / "first.json").exists()


def test_the_plan_says_what_is_done_and_what_is_left(trained, npz, console):
    compare.plan([FIRST, Entry("third", "Compact CNN", "", "reference", SMALL)], npz, trained, console)
    first, third = console.file.getvalue().splitlines()
    assert first.startswith("first")
    assert "done in 1 minutes on" in first
    assert "minutes left here" in third
    assert not (trained / "runs" / "compare" / "third").exists()


def test_a_training_that_was_stopped_goes_on(tmp_path, npz, console, monkeypatch):
    root = make_root(tmp_path / "root")
    finish_epoch = run.Training.finish_epoch

    def interrupted(self):
        signal.raise_signal(signal.SIGTERM)
        return finish_epoch(self)

    with monkeypatch.context() as patched:
        patched.setattr(run.Training, "finish_epoch", interrupted)
        assert not compare.train_missing([FIRST], npz, root, console)
    assert not (root / "training" / "manifests" / "first.json").exists()
    assert compare.train_missing([FIRST], npz, root, console)
    assert "resuming" in console.file.getvalue()
    assert (root / "training" / "manifests" / "first.json").exists()


def test_a_run_by_another_recipe_or_on_a_part_is_not_filed(trained, tmp_path):
    folder = trained / "runs" / "compare" / "first"
    with pytest.raises(DataError, match="trained by compact"):
        compare.file(Entry("x", "Whitened ConvNet", "own-recipe", "compact"), folder, tmp_path)
    part = tmp_path / "part"
    shutil.copytree(folder, part)
    document = json.loads((part / "manifest.json").read_text())
    document["training"]["settings"]["limit"] = 100
    (part / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="a part of the pictures"):
        compare.file(FIRST, part, tmp_path)


def published(folder, name):
    """A run's folder as publishing leaves it, of a network whose weights are committed."""
    folder.mkdir()
    shutil.copy(ROOT / "training" / "manifests" / f"{name}.safetensors", folder / "weights.safetensors")
    shutil.copy(ROOT / "training" / "manifests" / f"{name}.json", folder / "manifest.json")
    return folder


def test_a_run_with_other_settings_than_its_names_is_not_filed(tmp_path):
    folder = published(tmp_path / "run", "compact-cnn")
    [resnet] = [entry for entry in LINEUP if entry.name == "resnet-20"]
    with pytest.raises(DataError, match="another run than resnet-20's: network CompactCnn, not ResNet"):
        compare.file(resnet, folder, tmp_path)
    assert not (tmp_path / "training").exists()


def test_another_network_than_its_names_is_not_filed(tmp_path):
    [lite0] = [entry for entry in LINEUP if entry.name == "efficientnet-lite-served"]
    with pytest.raises(DataError, match="another network than efficientnet-lite-served's: variant 2, not 0"):
        compare.file(lite0, ROOT / "model", tmp_path)
    assert not (tmp_path / "training").exists()


def test_every_manifest_is_of_its_names_network_and_of_no_other():
    documents = comparison.read(ROOT / "training" / "manifests")
    for entry, (name, document) in itertools.product(LINEUP, documents.items()):
        if document["training"]["recipe"] == entry.recipe:
            network = compare._others(entry.network, document["network"])
            settings = compare._others(compare._settings(entry), document["training"]["settings"])
            assert (not network and not settings) == (name == entry.name), f"{name} as {entry.name}"


@pytest.fixture
def same_speeds(monkeypatch):
    """Takes no time to time networks."""
    speed = {"milliseconds": 1.0, "runs": 1, "hardware": "a slide rule"}
    monkeypatch.setattr(compare, "speeds", lambda networks: [speed] * len(networks))


def test_the_readmes_example_of_taking_a_run_works(tmp_path, same_speeds):
    [(name, folder)] = re.findall(r'ARGS="--take (\S+) (\S+)"', README)
    [entry] = [entry for entry in LINEUP if entry.name == name]
    compare.file(entry, ROOT / folder, tmp_path)
    assert (tmp_path / "training" / "manifests" / f"{name}.json").exists()


def test_filing_counts_running_statistics_where_a_manifest_does_not_say(tmp_path, same_speeds):
    folder = published(tmp_path / "run", "compact-cnn")
    document = json.loads((folder / "manifest.json").read_text())
    del document["network"]["running_statistics"]
    (folder / "manifest.json").write_text(json.dumps(document))
    [entry] = [entry for entry in LINEUP if entry.name == "compact-cnn"]
    compare.file(entry, folder, tmp_path)
    filed = json.loads((tmp_path / "training" / "manifests" / "compact-cnn.json").read_text())
    assert filed["network"]["running_statistics"] == 576


def test_data_without_labels_of_test_pictures_is_said(tmp_path, console, monkeypatch):
    monkeypatch.setattr(compare, "prepare", lambda *_: SimpleNamespace(data=SimpleNamespace(test=())))
    with pytest.raises(DataError, match=NO_TEST_PICTURES):
        compare.start(FIRST, tmp_path, tmp_path, console)


def test_what_learns_from_photographs_is_not_trained_without_them(tmp_path, npz, console):
    [entry] = [entry for entry in LINEUP if entry.name == "efficientnet-lite-served"]
    for command in (compare.train_missing, compare.plan):
        with pytest.raises(DataError, match="file it by --take efficientnet-lite-served FOLDER"):
            command([entry], npz, tmp_path, console)
    assert not (tmp_path / "runs").exists()


def test_a_readme_without_its_marks_is_said():
    with pytest.raises(DataError, match="lacks the lines"):
        comparison.rewritten("# Nothing here\n", "table")


def test_a_file_that_is_no_manifest_is_said(tmp_path):
    (tmp_path / "odd.json").write_text('{"metrics": {}}')
    with pytest.raises(DataError, match=r"odd\.json is not a manifest"):
        comparison.read(tmp_path)


def test_a_name_that_is_not_in_the_lineup_ends_with_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["compare", "--train", "alexnet"])
    with pytest.raises(SystemExit) as end:
        compare.main()
    assert end.value.code == 2
    assert "there is no alexnet" in capsys.readouterr().err


def test_every_entry_of_the_lineup_can_be_built():
    names = [entry.name for entry in LINEUP]
    assert len(set(names)) == len(names)
    for entry in LINEUP:
        assert entry.recipe in RECIPES
        assert entry.variant in (*VARIANTS, START)
        if entry.recipe == "reference":
            parse(ReferenceSettings, entry.name, list(entry.arguments))


def test_what_is_committed_is_what_its_manifests_make(tmp_path):
    root = make_root(tmp_path / "root")
    shutil.copy(ROOT / "README.md", root)
    shutil.copytree(ROOT / "training" / "manifests", root / "training" / "manifests")
    compare.remake(root)
    for path, content in made(root).items():
        assert (ROOT / path).read_bytes() == content, f"{path}: run make compare"


def test_the_readme_reads_from_the_table_what_it_has():
    rows = {row.name: row for row in comparison.rows_of(comparison.read(ROOT / "training" / "manifests"))}
    vgg, resnet = rows["vgg16"], rows["resnet-20"]
    assert 50 < vgg.parameters / resnet.parameters < 60
    times = {5: "five", 6: "six", 7: "seven"}[round(vgg.milliseconds / resnet.milliseconds)]
    assert f"over fifty times ResNet-20's parameters and takes {times} times as long for a picture" in README


def test_names_of_networks_that_lie_together_cover_no_other():
    figure = plots.accuracy_against_time([(f"Compact CNN, variant {number}", 1.0, 0.8) for number in range(6)])
    boxes = [label.get_window_extent() for label in figure.axes[0].texts]
    plt.close(figure)
    assert len(boxes) == 6
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
