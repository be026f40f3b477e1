"""What holds for every network, whatever its shape."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from model.network import channels_last
from model.networks import NETWORKS, build

# Name, description, trained parameters, running statistics of batch norm (Keras counts both as parameters).
# ResNet-20: 0.27M in the paper's table 6. VGG16: 14,710,464 weights of its convolutions, 8,448 of batch norm, the head.
FORMS = [
    ("CompactCnn", {"batch_norm": True, "dropout": True}, 186_826, 576),
    ("CompactCnn", {"batch_norm": False, "dropout": True}, 186_826 - 576, 0),
    ("CompactCnn", {"batch_norm": True, "dropout": False}, 186_826, 576),
    ("VggStyle", {"batch_norm": True, "dropout": True}, 7_110_218, 8_000),
    ("VggStyle", {"batch_norm": False, "dropout": False}, 7_110_218 - 8_000, 0),
    ("ResNet", {"depth": 20}, 269_722, 1_376),
    ("ResNet", {"depth": 8}, 75_290, 480),
    ("Vgg16", {}, 14_710_464 + 8_448 + 267_786, 8_448),
    ("EfficientNetLite", {"variant": 0, "side": 32}, 3_385_099, 42_016),
    ("WhitenedConvNet", {"widths": [8, 16, 16]}, 11_000, 160),
]


@pytest.fixture(params=FORMS, ids=lambda form: "-".join([form[0], *map(str, form[1].values())]))
def form(request):
    return request.param


@pytest.fixture
def network(form):
    torch.manual_seed(0)
    return build({"name": form[0], **form[1]})


@pytest.fixture
def pixels():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8, generator=generator)


def without_dropout(network):
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


def test_every_network_is_among_the_forms():
    assert {name for name, *_ in FORMS} == set(NETWORKS)


def test_outputs_have_a_row_a_picture_and_are_finite(network, pixels):
    outputs = network(pixels)
    assert outputs.shape[0] == 20
    assert outputs.shape[1] in (10, 11)
    assert torch.isfinite(outputs).all()


@pytest.mark.parametrize("value", [0, 255])
def test_extreme_pixels_give_finite_outputs(network, value):
    assert torch.isfinite(network.eval()(torch.full((1, 3, 32, 32), value, dtype=torch.uint8))).all()


def test_it_has_as_many_parameters_as_it_should(network, form):
    _, _, parameters, statistics = form
    buffers = [value for name, value in network.named_buffers() if "running" in name]
    assert sum(each.numel() for each in network.parameters()) == parameters
    assert sum(each.numel() for each in buffers) == statistics


def test_the_compact_cnn_has_exactly_187402_as_keras_counts():
    network = build({"name": "CompactCnn", "batch_norm": True, "dropout": True})
    trained = sum(each.numel() for each in network.parameters() if each.requires_grad)
    everything = sum(value.numel() for name, value in network.state_dict().items() if "num_batches" not in name)
    assert (trained, everything) == (186_826, 187_402)


def test_a_gradient_reaches_everything_that_is_trained(network, pixels):
    F.cross_entropy(network(pixels), torch.arange(20) % 10).backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_one_step_lowers_the_loss(network, pixels):
    without_dropout(network)
    labels = torch.arange(20) % 10
    optimizer = torch.optim.Adam([each for each in network.parameters() if each.requires_grad], lr=1e-4)
    loss = F.cross_entropy(network(pixels), labels)
    loss.backward()
    optimizer.step()
    assert F.cross_entropy(network(pixels), labels) < loss


def test_it_is_built_again_from_its_description(network, form):
    description = {"name": form[0]} | network.describe()
    again = build(description | {"parameters": 1})
    again.load_state_dict(network.state_dict())
    assert type(again) is type(network)
    assert again.describe() == network.describe() == form[1]


def test_memory_layout_does_not_change_the_answer(network, pixels):
    network.eval()
    plain = network(pixels)
    channels_last(network)
    laid_out = network(pixels.contiguous(memory_format=torch.channels_last))
    assert torch.allclose(laid_out, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("description", "error", "words"),
    [
        ({"name": "AlexNet"}, ValueError, "there is no network 'AlexNet'"),
        ({"name": "CompactCnn", "dropout": True}, KeyError, "batch_norm"),
        ({"name": "ResNet", "depth": 21}, ValueError, "6n"),
        ({"name": "WhitenedConvNet", "widths": [1, 2]}, ValueError, "unpack"),
    ],
)
def test_what_is_no_network_is_refused(description, error, words):
    with pytest.raises(error, match=words):
        build(description)
