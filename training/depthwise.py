"""Depthwise convolutions whose gradients are computed in the ways that are fast in bfloat16, for training on CPUs.

torch 2.13's own CPU kernels take most of a step for these gradients alone: in bfloat16 up to forty times as long as in
float32, and in float32 ten times as long as the forward pass. Two of oneDNN's kernels are fast in bfloat16, the forward
pass and the gradient of 3x3 weights, so everything but the inputs' gradient at a stride of 2 is put as one of these.
"""

from itertools import product
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = (stride, padding)
        return F.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding = ctx.geometry
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x = _of_inputs(gradient, x, weight, stride, padding) if ctx.needs_input_grad[0] else None
        of_weight = _of_weights(gradient, x, weight, stride, padding) if ctx.needs_input_grad[1] else None
        return of_x, of_weight, None, None


def _of_inputs(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Give the gradient with respect to `x`."""
    if stride == 1:  # a convolution with the filters turned round
        around = weight.shape[-1] - 1 - padding
        return F.conv2d(gradient, weight.flip(2, 3).to(gradient.dtype), None, 1, around, groups=len(weight))
    beyond = [(length + 2 * padding - weight.shape[-1]) % stride for length in x.shape[2:]]  # that no window reached
    of_x = F.conv_transpose2d(
        gradient.float(), weight.float(), None, stride, padding, output_padding=beyond, groups=len(weight)
    )
    return of_x.to(x.dtype)


def _of_weights(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Give the gradient with respect to `weight`; filters above 3x3 are put together of overlapping 3x3 parts."""
    size = weight.shape[-1]
    if size == 3:
        return _of_3x3(gradient, x, stride, padding).to(weight.dtype)
    if padding:  # else it would be copied all the same
        x = F.pad(x, (padding,) * 4)
    height, width = ((length - 1) * stride + 3 for length in gradient.shape[2:])  # that 3x3 windows reach
    of_weight = torch.empty_like(weight)
    for top, left in product((*range(0, size - 3, 3), size - 3), repeat=2):
        reached = x[:, :, top : top + height, left : left + width].contiguous(memory_format=torch.channels_last)
        of_weight[:, :, top : top + 3, left : left + 3] = _of_3x3(gradient, reached, stride, 0)
    return of_weight


def _of_3x3(gradient: Tensor, x: Tensor, stride: int, padding: int) -> Tensor:
    channels = x.shape[1]
    geometry = ((stride,) * 2, (padding,) * 2, (1, 1), False, (0, 0), channels)
    shape = x.new_empty(channels, 1, 3, 3)
    wanted = (False, True, False)
    of_weight: Tensor = torch.ops.aten.convolution_backward(gradient, x, shape, None, *geometry, wanted)[1]
    return of_weight


def _forward(self: nn.Conv2d, x: Tensor) -> Tensor:
    output: Tensor = _Depthwise.apply(x, self.weight, self.stride[0], self.padding[0])  # type: ignore[no-untyped-call]
    return output


def with_fast_gradients(network: nn.Module) -> None:
    """Let every depthwise convolution without bias in `network` compute its gradients so, in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1 and module.bias is None:
            module.forward = MethodType(_forward, module)  # type: ignore[method-assign]
