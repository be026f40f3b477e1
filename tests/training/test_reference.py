"""What the reference recipe does by itself; tests/training/test_run.py has what all recipes do."""

import io
import json
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import nn

from model.compact_cnn import CompactCnn
from model.vgg16 import Vgg16
from training import pretrained, publish, run
from training.reference import OPTIMIZERS, ReferenceSettings, ReferenceTraining


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def settings(tmp_path):
    return ReferenceSettings(run=tmp_path / "run", epochs=2, batch_size=50, threads=1, install="never")


@pytest.fixture
def scripted(monkeypatch):
    """Validation losses that fall once and then never again."""
    losses = [1.0, 0.5, 0.7, 0.6, 0.6, 0.8, 0.9]

    def loss_and_accuracy(self, split, epoch):
        return losses[epoch], 0.5

    monkeypatch.setattr(ReferenceTraining, "loss_and_accuracy", loss_and_accuracy)


@pytest.mark.parametrize("network", OPTIMIZERS)
def test_every_network_takes_a_step(settings, tiny, console, network):
    training = ReferenceTraining(replace(settings, network=network, batch_size=20), tiny, console)
    before = {name: value.clone() for name, value in training.network.named_parameters()}
    training.step()
    for name, value in training.network.named_parameters():
        assert torch.isfinite(value).all(), name
        assert not torch.equal(value, before[name]), name


def test_without_augmentation_the_network_sees_the_pictures_as_they_are(settings, tiny, console, monkeypatch):
    seen = []
    forward = CompactCnn.forward

    def noting(self, pixels):
        seen.append(pixels)
        return forward(self, pixels)

    monkeypatch.setattr(CompactCnn, "forward", noting)
    for augment in (False, True):
        training = ReferenceTraining(replace(settings, augment=augment), tiny, console)
        training.step()
    plain = {image.numpy().tobytes() for image in training.images}
    assert [{image.contiguous().numpy().tobytes() for image in batch} <= plain for batch in seen] == [True, False]


@pytest.mark.parametrize(("name", "kinds"), [("batch_norm", (nn.BatchNorm1d, nn.BatchNorm2d)), ("dropout", nn.Dropout)])
@pytest.mark.parametrize("network", ["CompactCnn", "VggStyle"])
def test_layers_can_be_left_out(settings, tiny, console, network, name, kinds):
    def count(**settings_of_run):
        training = ReferenceTraining(replace(settings, network=network, **settings_of_run), tiny, console)
        return sum(isinstance(module, kinds) for module in training.network.modules())

    assert count() > 0
    assert count(**{name: False}) == 0


def test_the_rate_falls_and_the_run_ends_when_validation_stops_getting_better(settings, tiny, console, scripted):
    training = ReferenceTraining(replace(settings, epochs=7, plateau=2, patience=4), tiny, console)
    rates = []
    while not training.is_finished:
        training.step()
        if training.progressed.step == training.steps_per_epoch:
            rates.append(training.optimizers[0].param_groups[0]["lr"])
            training.finish_epoch()
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 1e-3, 3e-4, 3e-4])
    assert training.chosen_epoch == 2


def test_stopped_and_resumed_it_slows_down_and_ends_in_the_same_epochs(
    settings, tiny, console, scripted, tmp_path, stop_after_steps
):
    settings = replace(settings, epochs=7, plateau=2, patience=4)
    assert run.train(ReferenceTraining(settings, tiny, console), console)
    other = replace(settings, run=tmp_path / "other")
    stop_after_steps(10, 18)  # within the third and the fifth of the epochs, which have four steps each
    sittings = [run.train(ReferenceTraining(other, tiny, console), console) for _ in range(3)]
    assert sittings == [False, False, True]
    names = [path.name for path in sorted((settings.run / "epochs").iterdir())]
    assert names == [path.name for path in sorted((other.run / "epochs").iterdir())]
    for name, value in load_file(settings.run / "epochs" / names[-1]).items():
        assert torch.equal(value, load_file(other.run / "epochs" / names[-1])[name]), name


def test_the_manifest_is_of_the_best_epoch_and_says_what_the_run_started_from(settings, tiny, console, scripted):
    training = ReferenceTraining(replace(settings, epochs=3), tiny, console)
    run.train(training, console)
    publish.publish(training, console)
    document = json.loads((settings.run / "manifest.json").read_text())
    assert (settings.run / "weights.safetensors").read_bytes() == training.epoch_weights(2).read_bytes()
    assert document["training"]["epoch"] == 2
    assert document["training"]["start"] == "random weights"
    assert document["training"]["settings"]["optimizer"]["lr"] == 1e-3
    assert document["network"]["parameters"] + document["network"]["running_statistics"] == 187_402
    assert {"test_loss", "test_accuracy"} < set(document["history"][-1])


def test_without_a_way_to_its_imagenet_weights_vgg16_starts_from_random_ones_and_says_so(
    settings, tiny, console, monkeypatch, tmp_path
):
    monkeypatch.setattr(pretrained, "VGG16_URL", (tmp_path / "nothing-here.pth").as_uri())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    training = ReferenceTraining(replace(settings, network="Vgg16", pretrained=True), tiny, console)
    assert training.notes() == {"start": "random weights"}
    assert "cannot be had here" in console.file.getvalue()


def test_imagenets_vgg16_gives_the_same_features_without_the_biases_of_its_convolutions():
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(each.in_channels, each.out_channels, 3, padding=1) if isinstance(each, nn.Conv2d) else each
        for each in Vgg16().features
    ]
    published = nn.Sequential(*layers).eval()
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            layer.running_mean.normal_()
    features = Vgg16().features.eval()
    names = {f"features.{name}": value.clone() for name, value in published.state_dict().items()}
    features.load_state_dict(pretrained.without_biases(names | {"classifier.0.bias": torch.zeros(1)}))
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.allclose(features(pixels), published(pixels), rtol=1e-3, atol=1e-4)


def test_efficientnet_lite_starts_from_imagenet_or_from_nothing(settings, tiny, console):
    starts = [
        ReferenceTraining(replace(settings, network="EfficientNetLite", pretrained=each), tiny, console)
        for each in (True, False)
    ]
    assert [each.notes()["start"] for each in starts] == ["ImageNet", "random weights"]
    first, second = (each.network.state_dict()["stem.0.weight"] for each in starts)
    assert not torch.equal(first, second)
