import pytest
import torch
from torch import nn

from training.depthwise import with_fast_gradients


@pytest.mark.parametrize("size", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(9, 9), (10, 9), (10, 10)])
def test_gradients_are_those_of_torch(size, stride, shape):
    torch.manual_seed(0)
    quick = nn.Conv2d(6, 6, size, stride, size // 2, groups=6, bias=False)
    network = nn.Sequential(quick, nn.Conv2d(6, 6, 3, 1, 1, groups=6))
    x = torch.randn(2, 6, *shape, requires_grad=True)
    wanted = torch.autograd.grad(network(x).square().sum(), [x, *network.parameters()])
    with_fast_gradients(network)
    got = torch.autograd.grad(network(x).square().sum(), [x, *network.parameters()])
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_gradients_of_pictures_that_were_padded_before_are_those_of_torch():
    """EfficientNet-Lite's own padding: one pixel less in front than behind."""
    convolution = nn.Conv2d(4, 4, 5, 2, 0, groups=4, bias=False)
    x = torch.randn(2, 4, 11, 11, requires_grad=True)
    wanted = torch.autograd.grad(convolution(x).square().sum(), [x, convolution.weight])
    with_fast_gradients(convolution)
    got = torch.autograd.grad(convolution(x).square().sum(), [x, convolution.weight])
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_activations_stay_in_the_types_that_autocast_gives():
    network = nn.Conv2d(4, 4, 3, groups=4, bias=False)
    with_fast_gradients(network)
    x = torch.randn(1, 4, 5, 5, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(x)
    output.sum().backward()
    assert output.dtype == torch.bfloat16
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    assert network.weight.grad is not None
    assert network.weight.grad.dtype == torch.float32
