import pytest
import torch
from torch.nn import functional as F

from model.efficientnet_lite import EfficientNetLite
from model.network import channels_last


@pytest.fixture
def network():
    torch.manual_seed(0)
    return EfficientNetLite(0, 32)


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


# ImageNet form: 4,652,008 and 6,092,072 parameters, as published with the weights.
@pytest.mark.parametrize(("variant", "parameters"), [(0, 4_652_008), (2, 6_092_072)])
def test_it_has_the_published_number_of_parameters(variant, parameters):
    network = EfficientNetLite(variant, 224, outputs=1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_outputs_are_the_ten_classes_and_none(network, pixels):
    outputs = network.eval()(pixels)
    assert outputs.shape == (20, 11)
    assert torch.isfinite(outputs).all()


@pytest.mark.parametrize("value", [0, 255])
def test_extreme_pixels_give_finite_outputs(network, value):
    assert torch.isfinite(network.eval()(torch.full((1, 3, 32, 32), value, dtype=torch.uint8))).all()


def test_a_gradient_reaches_everything(network, pixels):
    F.cross_entropy(network(pixels), torch.arange(20) % 11).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_one_step_lowers_the_loss(network, pixels):
    network.dropout.p = 0.0
    labels = torch.arange(20) % 11
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    loss = F.cross_entropy(network(pixels), labels)
    loss.backward()
    optimizer.step()
    assert F.cross_entropy(network(pixels), labels) < loss


def test_memory_layout_does_not_change_the_answer(network, pixels):
    network.eval()
    plain = network(pixels)
    channels_last(network)
    assert torch.allclose(network(pixels.contiguous(memory_format=torch.channels_last)), plain, atol=1e-4)


@pytest.mark.parametrize(("arguments", "words"), [((0, 100), "multiple of 32"), ((5, 128), "variant")])
def test_a_form_that_does_not_exist_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        EfficientNetLite(*arguments)
