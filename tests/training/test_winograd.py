import pytest
import torch
from torch import nn

from model.whitened_convnet import WhitenedConvNet
from training.publish import describe
from training.winograd import with_winograd

ROUNDING = 2e-5  # of the results' size: with the largest tiles about 1e-5


@pytest.mark.parametrize(("height", "width"), [(7, 7), (15, 15), (3, 3), (8, 5), (6, 10), (1, 2)])
def test_results_and_gradients_are_those_of_torch(height, width):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(96, 160, 3, padding=1, bias=False), nn.GELU(), nn.Conv2d(160, 128, 3, padding=1, bias=False)
    )
    x = torch.randn(35, 96, height, width, requires_grad=True)  # more than are computed at once
    factors = torch.randn(35, 128, height, width)

    def results():
        output = network(x)
        return [output, *torch.autograd.grad((output * factors).sum(), [x, *network.parameters()])]

    wanted = results()
    with_winograd(network)
    for got, as_torch in zip(results(), wanted, strict=True):
        assert got.shape == as_torch.shape
        assert (got - as_torch).norm() < ROUNDING * as_torch.norm()


@pytest.mark.parametrize("side", [7, 15, 8])
def test_what_pooling_never_reads_can_be_left_out(side):
    torch.manual_seed(0)
    convolution = nn.Conv2d(96, 160, 3, padding=1, bias=False)
    network = nn.Sequential(convolution, nn.MaxPool2d(2))
    x = torch.randn(35, 96, side, side, requires_grad=True)
    factors = torch.randn(35, 160, side // 2, side // 2)

    def results():
        output = network(x)
        return [output, *torch.autograd.grad((output * factors).sum(), [x, *network.parameters()])]

    wanted = results()
    with_winograd(network, even=[convolution])
    assert convolution(x).shape == (35, 160, side // 2 * 2, side // 2 * 2)
    for got, as_torch in zip(results(), wanted, strict=True):
        assert got.shape == as_torch.shape
        assert (got - as_torch).norm() < ROUNDING * as_torch.norm()


def test_results_and_gradients_are_the_same_to_the_bit_each_time():
    torch.manual_seed(0)
    convolution = nn.Conv2d(128, 128, 3, padding=1, bias=False)
    with_winograd(convolution)
    x = torch.randn(40, 128, 7, 7, requires_grad=True)

    def results():
        output = convolution(x)
        return [output, *torch.autograd.grad(output.square().sum(), [x, convolution.weight])]

    first = results()
    for _ in range(5):
        assert all(torch.equal(*pair) for pair in zip(results(), first, strict=True))


def test_weights_get_their_gradient_also_where_the_pictures_need_none():
    convolution = nn.Conv2d(128, 128, 3, padding=1, bias=False)
    with_winograd(convolution)
    convolution(torch.randn(2, 128, 4, 4)).sum().backward()
    assert convolution.weight.grad is not None


def test_a_network_can_be_asked_without_being_trained():
    torch.manual_seed(0)
    convolution = nn.Conv2d(128, 128, 3, padding=1, bias=False)
    x = torch.randn(9, 128, 4, 4)
    wanted = convolution(x)
    with_winograd(convolution)
    with torch.inference_mode():
        assert (convolution(x) - wanted).norm() < ROUNDING * wanted.norm()


def test_what_a_network_costs_is_said_of_the_form_that_is_served():
    network = WhitenedConvNet((8, 128, 128))
    served = describe(network)
    with_winograd(network)
    assert describe(network) == served


@pytest.mark.parametrize(
    "changes",
    [{"stride": 2}, {"padding": 0}, {"dilation": 2}, {"groups": 2}, {"bias": True}, {"padding_mode": "reflect"}],
)
def test_other_convolutions_are_left_as_they_are(changes):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(128, 128, 3, **{"padding": 1, "bias": False, **changes}))
    x = torch.randn(2, 128, 9, 9)
    wanted = network(x)
    with_winograd(network)
    assert torch.equal(network(x), wanted)
