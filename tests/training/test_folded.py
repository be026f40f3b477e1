import copy

import pytest
import torch

from model.efficientnet_lite import EfficientNetLite
from training.folded import with_fixed_statistics


@pytest.fixture(scope="module")
def network():
    """One whose batch norm has seen pictures."""
    torch.manual_seed(0)
    network = EfficientNetLite(0, 32, dropout=0)
    with torch.no_grad():
        for _ in range(10):
            network(torch.rand(8, 3, 32, 32) * 255)
    return network


@pytest.mark.parametrize("is_training", [True, False])
def test_outputs_and_gradients_are_those_of_batch_norm_with_running_statistics(network, is_training):
    plain, folded = copy.deepcopy(network).double().eval(), copy.deepcopy(network).double().train(is_training)
    before = copy.deepcopy(folded.state_dict())
    with_fixed_statistics(folded)
    pixels = torch.rand(4, 3, 32, 32, dtype=torch.double) * 255
    outputs = [each(pixels) for each in (plain, folded)]
    torch.testing.assert_close(*outputs)
    gradients = [
        torch.autograd.grad(output.square().sum(), list(each.parameters()))
        for output, each in zip(outputs, (plain, folded), strict=True)
    ]
    for got, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in folded.state_dict().items())
