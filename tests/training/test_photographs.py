import io

import pytest
import torch
from rich.console import Console

from model.labels import LABELS, NONE_COLUMN
from tests import pictures
from training import photographs
from training.data import DataError
from training.imagenet import AMBIGUOUS, CLASSES, grouping
from training.pretrained import imagenet_network, pretrained_network


@pytest.fixture
def console():
    return Console(file=io.StringIO())


def test_a_real_photograph_is_known_and_its_answer_kept(tmp_path, console, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.png").write_bytes(pictures.encode(pictures.large(pictures.photo(), 64), "PNG"))
    first = photographs.load(tmp_path / "photos", tmp_path, console)
    assert first.pixels.shape == (1, 3, 64, 64)
    assert first.targets.sum(1) == pytest.approx(1)
    assert LABELS[first.targets[0, :10].argmax()] == pictures.PHOTO_LABEL

    monkeypatch.setattr(photographs, "_ask", None)  # must not be needed again
    again = photographs.load(tmp_path / "photos", tmp_path, console)
    assert torch.equal(again.targets, first.targets)
    assert again.sha256 == first.sha256


def test_a_folder_without_pictures_is_said(tmp_path, console):
    with pytest.raises(DataError, match="no picture"):
        photographs.load(tmp_path, tmp_path, console)
    with pytest.raises(DataError, match="no folder or zip file"):
        photographs.load(tmp_path / "nowhere", tmp_path, console)


def test_photographs_of_the_ten_are_drawn_as_often_as_is_asked():
    targets = torch.zeros(100, 11)
    targets[:5, 3] = targets[5:, 10] = 1
    unnamed = torch.full((100,), photographs.UNNAMED)
    known = photographs.Photographs(torch.zeros(100, 3, 64, 64, dtype=torch.uint8), targets, unnamed, "")
    drawn = known.draw(3000, 0.4, torch.Generator().manual_seed(0))
    assert (drawn < 5).float().mean() == pytest.approx(0.4, abs=0.03)
    assert set(drawn.tolist()) == set(range(100))


def test_what_folders_call_photographs_counts_and_their_classes_are_drawn_alike(tmp_path, console):
    shown = pictures.encode(pictures.large(pictures.photo(), 64), "PNG")
    for folder, count in {"dog": 6, "n01": 2, "n02": 8, "n03": 1, "elsewhere": 1}.items():
        (tmp_path / folder).mkdir()
        for number in range(count):
            (tmp_path / folder / f"{number}.png").write_bytes(shown)
    (tmp_path / "classes.csv").write_text("wnid,cifar10\nn01,cat\nn02,none\nn03,ambiguous\n")
    read = photographs.load(tmp_path, tmp_path / "run", console)
    dog, cat = LABELS.index("dog"), LABELS.index("cat")
    assert read.named.tolist() == [dog] * 6 + [photographs.UNNAMED] + [cat] * 2 + [NONE_COLUMN] * 8

    answers = read.named_in(read.targets, torch.arange(17), 0.75)
    assert torch.allclose(answers.sum(1), torch.ones(17))
    assert torch.equal(answers[6], read.targets[6])
    assert answers[0, dog] == pytest.approx(0.75 + 0.25 * read.targets[0, dog])

    drawn = read.named[read.draw(4000, 0.5, torch.Generator().manual_seed(0))]
    dogs, cats = ((drawn == label).float().mean() for label in (dog, cat))
    assert dogs == pytest.approx(cats, abs=0.03)
    assert (drawn == NONE_COLUMN).float().mean() == pytest.approx(0.5, abs=0.03)


def test_the_same_photographs_by_other_names_decide_otherwise(tmp_path, console, monkeypatch):
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "one.png").write_bytes(pictures.encode(pictures.large(pictures.photo(), 64), "PNG"))
    first = photographs.load(tmp_path, tmp_path / "run", console)
    (tmp_path / "dog").rename(tmp_path / "cat")
    monkeypatch.setattr(photographs, "_ask", None)  # the teacher is not asked again
    again = photographs.load(tmp_path, tmp_path / "run", console)
    assert again.named.tolist() != first.named.tolist()
    assert again.sha256 != first.sha256


def test_no_imagenet_class_stands_for_two_things():
    listed = [index for group in CLASSES.values() for index in group] + list(AMBIGUOUS)
    assert len(listed) == len(set(listed))
    assert grouping().sum(1).tolist() == [1.0] * 1000


def test_the_pretrained_last_layer_averages_the_rows_of_its_classes():
    source, network = imagenet_network(0, 64), pretrained_network(0, 64)
    pixels = torch.randint(0, 256, (3, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        thousand, eleven = source(pixels), network.eval()(pixels)
    for column, label in enumerate(LABELS):
        if label != "deer":
            assert torch.allclose(eleven[:, column], thousand[:, list(CLASSES[label])].mean(1), atol=1e-4)


def test_there_are_weights_of_two_variants_only():
    with pytest.raises(ValueError, match="0, 2"):
        imagenet_network(1, 64)
