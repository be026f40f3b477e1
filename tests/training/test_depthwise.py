import torch
from torch import nn

from training.depthwise import with_fast_gradients


def test_gradients_are_those_of_torch() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(6, 6, 5, 2, 2, groups=6, bias=False), nn.Conv2d(6, 6, 3, 1, 1, groups=6))
    x = torch.randn(2, 6, 9, 9, requires_grad=True)
    wanted = torch.autograd.grad(network(x).square().sum(), [x, *network.parameters()])
    with_fast_gradients(network)
    got = torch.autograd.grad(network(x).square().sum(), [x, *network.parameters()])
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_activations_stay_in_the_types_that_autocast_gives() -> None:
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
