"""Depthwise convolutions whose gradients are computed in float32, for training on CPUs.

In bfloat16, torch 2.13's CPU kernels take most of a step for these gradients alone, up to forty times as long as in
float32 (measured on Zen 4); forward passes are fast in bfloat16.
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = (stride, padding, (1, 1), False, (0, 0), len(weight))
        return F.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = (*ctx.needs_input_grad[:2], False)
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(
            gradient.float(), x.float(), weight.float(), None, *ctx.geometry, wanted
        )
        return of_x if of_x is None else of_x.to(x.dtype), of_weight, None, None


def _forward(self: nn.Conv2d, x: Tensor) -> Tensor:
    assert isinstance(self.padding, tuple)
    output: Tensor = _Depthwise.apply(x, self.weight, self.stride, self.padding)  # type: ignore[no-untyped-call]
    return output


def with_float32_gradients(network: nn.Module) -> None:
    """Let every depthwise convolution without bias in `network` compute its gradients in float32, in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1 and module.bias is None:
            module.forward = MethodType(_forward, module)  # type: ignore[method-assign]
