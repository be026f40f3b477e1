"""Batch norms that keep their statistics, computed within the convolutions before them.

A pass over activations less after every convolution: of what the learner itself takes in a step of the served recipe's
last runs, in bfloat16 on two cores, that is a fifth. The parameters stay what they are and have the gradients that they
would have had.
"""

from types import MethodType
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from model.efficientnet_lite import ConvNorm
from training.depthwise import depthwise


def with_fixed_statistics(network: nn.Module) -> None:
    """Let every batch norm in `network` use its running statistics, in training as well, and leave them, in place."""
    for module in network.modules():
        if isinstance(module, ConvNorm):
            module.forward = MethodType(_forward, module)  # type: ignore[method-assign]


def _forward(self: ConvNorm, x: Tensor) -> Tensor:
    convolution, norm, activation = cast(tuple[nn.Conv2d, nn.BatchNorm2d, nn.Module], tuple(self))
    assert norm.running_mean is not None  # both are there unless a norm is made without
    assert norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    weight = convolution.weight * scale.view(-1, 1, 1, 1)
    bias = norm.bias - norm.running_mean * scale
    if self.pad:
        x = F.pad(x, self.pad)
    stride, padding, groups = convolution.stride[0], cast(int, convolution.padding[0]), convolution.groups
    if groups > 1 and x.device.type == "cpu":
        filtered = depthwise(x, weight, bias, stride, padding)
    else:
        filtered = F.conv2d(x, weight, bias, stride, padding, groups=groups)
    output: Tensor = activation(filtered)
    return output
