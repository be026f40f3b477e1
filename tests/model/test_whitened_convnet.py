import pytest
import torch
from torch.nn import functional as F

from model.network import channels_last
from model.whitened_convnet import PIXEL_MEAN, PIXEL_STD, WhitenedConvNet
from training.muon import Muon


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = WhitenedConvNet((8, 16, 16))
    network.init_whitening(torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8))
    return network


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8)


def test_logits_have_a_row_a_picture_and_a_column_a_class(network, pixels):
    logits = network(pixels)
    assert logits.shape == (20, 10)
    assert torch.isfinite(logits).all()


def test_extreme_pixels_give_finite_logits(network):
    for value in (0, 255):
        assert torch.isfinite(network.eval()(torch.full((1, 3, 32, 32), value, dtype=torch.uint8))).all()


def test_normalised_pixels_have_zero_mean_and_unit_deviation(network):
    mean, std = torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1), torch.tensor(PIXEL_STD).view(1, 3, 1, 1)
    both = torch.cat([mean - std, mean + std])
    assert torch.allclose(network.normalize(both), torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1))


def test_whitened_patches_have_unit_covariance():
    torch.manual_seed(0)
    smooth = F.avg_pool2d(torch.rand(64, 3, 34, 34) * 255, 3, stride=1)
    network = WhitenedConvNet((8, 16, 16))
    network.init_whitening(smooth, eps=0)
    responses = F.conv2d(network.normalize(smooth), network.whiten.weight[:12]).transpose(0, 1).flatten(1)
    assert torch.allclose(responses @ responses.T / responses.shape[1], torch.eye(12), atol=1e-3)


def test_a_gradient_reaches_everything_that_is_trained(network, pixels):
    F.cross_entropy(network(pixels), torch.arange(20) % 10).backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_one_step_lowers_the_loss_and_moves_every_parameter(network, pixels):
    labels = torch.arange(20) % 10
    filters = [p for p in network.blocks.parameters() if p.ndim == 4]
    others = [p for p in network.parameters() if p.requires_grad and not any(p is each for each in filters)]
    # The loss is compared at the weights that Muon starts from: it brings the filters to their norm first.
    with torch.no_grad():
        for bank in filters:
            bank.mul_(len(bank) ** 0.5 / bank.norm())
    before = {name: value.clone() for name, value in network.named_parameters()}
    loss = F.cross_entropy(network(pixels), labels)
    loss.backward()
    torch.optim.SGD(others, lr=0.05).step()
    Muon(filters, lr=0.01, momentum=0.6).step()
    assert F.cross_entropy(network(pixels), labels) < loss
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name]) != parameter.requires_grad, name


def test_memory_layout_does_not_change_the_answer(network, pixels):
    network.eval()
    plain = network(pixels)
    channels_last(network)
    assert torch.allclose(network(pixels.contiguous(memory_format=torch.channels_last)), plain, atol=1e-5)
