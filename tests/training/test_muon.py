import pytest
import torch
from torch import nn

from training.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_singular_values_come_near_one(shape):
    torch.manual_seed(0)
    singular_values = torch.linalg.svdvals(orthogonalize(torch.randn(shape), iterations=8))
    assert singular_values.min() > 0.5
    assert singular_values.max() < 1.5


def test_the_update_does_not_depend_on_the_gradients_size():
    gradient = torch.randn(8, 30)
    assert torch.allclose(orthogonalize(gradient), orthogonalize(1000 * gradient), atol=0.02)


def test_filters_keep_the_norm_of_an_orthogonal_bank():
    torch.manual_seed(0)
    bank = nn.Parameter(torch.randn(16, 4, 3, 3))
    optimizer = Muon([bank], lr=0.0, momentum=0.6)
    bank.grad = torch.randn_like(bank)
    optimizer.step()
    assert bank.norm().item() == pytest.approx(4.0, rel=1e-5)
