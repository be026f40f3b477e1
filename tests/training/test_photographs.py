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
    known = photographs.Photographs(
        torch.zeros(100, 3, 64, 64, dtype=torch.uint8), targets, torch.full((100,), photographs.UNNAMED), ""
    )
    drawn = known.draw(3000, 0.4, torch.Generator().manual_seed(0))
    assert (drawn < 5).float().mean() == pytest.approx(0.4, abs=0.03)
    assert set(drawn.tolist()) == set(range(100))


def test_folders_correct_what_photographs_are_taken_for(tmp_path, console):
    shown = pictures.encode(pictures.large(pictures.photo(), 64), "PNG")
    for folder in ("dog", "elsewhere", "n01", "n02", "n03"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0.png").write_bytes(shown)
    (tmp_path / "classes.csv").write_text("wnid,cifar10\nn01,cat\nn02,none\nn03,ambiguous\n")
    read = photographs.load(tmp_path, tmp_path / "run", console)
    dog, cat = LABELS.index("dog"), LABELS.index("cat")
    assert read.named.tolist() == [dog, photographs.UNNAMED, cat, NONE_COLUMN]

    answers = torch.full((4, 11), 0.05)
    answers[:, dog] = 0.5
    half, whole = (read.corrected(answers, torch.arange(4), share) for share in (0.5, 1))
    assert torch.equal(whole[1], answers[1])
    assert whole[0, dog].item() == pytest.approx(0.5 / 0.55, abs=1e-4)
    assert whole[2, cat].item() == pytest.approx(0.5, abs=1e-4)
    assert whole[2, dog].item() == 0
    assert whole[3, NONE_COLUMN].item() == 1
    assert half[2, dog].item() == pytest.approx(0.25)
    for each in (half, whole):
        assert torch.allclose(each.sum(1), torch.ones(4))


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
