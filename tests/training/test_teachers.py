import pytest
import torch
from safetensors.torch import save_file

from model.efficientnet_lite import EfficientNetLite
from training.data import DataError
from training.run import resized, save_weights
from training.teachers import Teachers, read_network


@pytest.fixture(scope="module")
def pixels():
    return torch.randint(0, 256, (6, 3, 32, 32), generator=torch.Generator().manual_seed(1)).float()


@pytest.fixture(scope="module")
def networks(pixels):
    """One of each variant, with batch norm that has seen pictures."""
    torch.manual_seed(0)
    networks = [EfficientNetLite(variant, 32) for variant in (0, 2)]
    for network in networks:
        for _ in range(20):
            network(pixels)
    return [network.eval() for network in networks]


@pytest.fixture(scope="module")
def paths(networks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teachers")
    paths = [folder / f"{network.variant}.safetensors" for network in networks]
    for network, path in zip(networks, paths, strict=True):
        save_weights(network, path)
    return paths


def test_one_answers_as_it_does_itself(networks, paths, pixels):
    answers = Teachers(paths[:1], 32, torch.device("cpu"))(pixels)
    assert torch.allclose(answers, networks[0](pixels).softmax(1), atol=0.02)  # bfloat16, where that is fast


def test_two_answer_with_their_mean_the_second_to_the_mirror_image(networks, paths, pixels):
    answers = Teachers(paths, 32, torch.device("cpu"))(pixels)
    assert answers.shape == (6, 11)
    assert not answers.requires_grad
    assert torch.allclose(answers.sum(1), torch.ones(6), atol=1e-5)
    mean = (networks[0](pixels).softmax(1) + networks[1](pixels.flip(-1)).softmax(1)) / 2
    assert torch.allclose(answers, mean, atol=0.02)


def test_a_larger_view_is_shrunk_to_what_they_know(paths, pixels):
    larger = resized(pixels, 64)
    teachers = Teachers(paths, 32, torch.device("cpu"))
    assert torch.equal(teachers(larger), teachers(resized(larger, 32)))
    assert not torch.equal(teachers(larger), Teachers(paths, 64, torch.device("cpu"))(larger))


def test_the_variant_is_found_in_the_file(paths):
    assert [read_network(path, 64).variant for path in paths] == [0, 2]
    assert read_network(paths[0], 64).side == 64


def test_a_file_that_holds_no_such_weights_is_said(tmp_path, paths):
    other, damaged = tmp_path / "other.safetensors", tmp_path / "damaged.safetensors"
    save_file({"weight": torch.zeros(3)}, other)
    damaged.write_bytes(paths[0].read_bytes()[:1000])
    with pytest.raises(DataError, match=r"other\.safetensors has no weights of EfficientNet-Lite 0 or 2"):
        read_network(other, 32)
    for path in (damaged, tmp_path / "missing.safetensors"):
        with pytest.raises(DataError, match="no weights can be read"):
            read_network(path, 32)
