"""3x3 convolutions by Winograd's minimal filtering, for training in float32.

F(4x4, 3x3) of Lavin and Gray 2015 (arXiv:1509.09308): every 4x4 tile of the output comes from 36 products a pair of
channels instead of 144. oneDNN computes float32 convolutions directly, close to the processor's peak; with 384 channels
this takes half to two thirds of its time, with the same results but for rounding (about 3e-6 of their size).
"""

from types import MethodType
from typing import Any, Final

import torch
from torch import Tensor, nn

LEAST_CHANNELS: Final = 128
"""Of input and output together, on average; below, transforming the tiles takes longer than it saves."""

_TILE: Final = 4  # the output's
_WINDOW: Final = 6  # the input's, for one tile of the output
_TILES_AT_ONCE: Final = 128  # their transforms then fit into the caches

_INPUT = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
).float()
_FILTER = torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
_OUTPUT = torch.tensor([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]).float()

# Rows and columns in one: maps of flattened windows, filters and tiles, shapes (36, 36), (36, 9) and (16, 36).
_INPUTS, _FILTERS, _OUTPUTS = (torch.kron(each, each) for each in (_INPUT, _FILTER, _OUTPUT))


class _Tiling:
    """Cuts pictures, channels last, (N, H, W, C), into windows and tiles, some pictures at a time."""

    def __init__(self, count: int, height: int, width: int) -> None:
        self.count, self.height, self.width = count, height, width
        self.down, self.across = -(-height // _TILE), -(-width // _TILE)

    def chunks(self) -> list[slice]:
        """Give the pictures that are computed together."""
        size = max(1, _TILES_AT_ONCE // (self.down * self.across))
        return [slice(first, min(first + size, self.count)) for first in range(0, self.count, size)]

    def windows(self, pictures: Tensor) -> Tensor:
        """Give the overlapping windows of pictures, zero outside them, shape (36, tiles * C)."""
        count, _, _, channels = pictures.shape
        padded = pictures.new_zeros(count, _TILE * self.down + 2, _TILE * self.across + 2, channels)
        padded[:, 1 : self.height + 1, 1 : self.width + 1] = pictures
        picture, row, column, _ = padded.stride()
        shape = (_WINDOW, _WINDOW, count, self.down, self.across, channels)
        return padded.as_strided(shape, (row, column, picture, _TILE * row, _TILE * column, 1)).reshape(_WINDOW**2, -1)

    def add_windows(self, windows: Tensor, count: int) -> Tensor:
        """Add windows up where they overlap, as the adjoint of `windows`: shape (count, H, W, C)."""
        parts = windows.view(_WINDOW, _WINDOW, count, self.down, self.across, -1)
        padded = windows.new_zeros(count, _TILE * self.down + 2, _TILE * self.across + 2, parts.shape[-1])
        for row in range(_WINDOW):
            for column in range(_WINDOW):
                rows = slice(row, row + _TILE * self.down - 3, _TILE)
                padded[:, rows, column : column + _TILE * self.across - 3 : _TILE] += parts[row, column]
        return padded[:, 1 : self.height + 1, 1 : self.width + 1]

    def join(self, tiles: Tensor, pictures: Tensor) -> None:
        """Write tiles, shape (16, tiles * C), into pictures."""
        parts = tiles.view(_TILE, _TILE, len(pictures), self.down, self.across, -1)
        for row in range(_TILE):
            for column in range(_TILE):
                places = pictures[:, row::_TILE, column::_TILE]
                places.copy_(parts[row, column, :, : places.shape[1], : places.shape[2]])

    def split(self, pictures: Tensor) -> Tensor:
        """Give the tiles of pictures, zero outside them, as the adjoint of `join`: shape (16, tiles * C)."""
        count, _, _, channels = pictures.shape
        tiles = pictures.new_zeros(_TILE, _TILE, count, self.down, self.across, channels)
        for row in range(_TILE):
            for column in range(_TILE):
                places = pictures[:, row::_TILE, column::_TILE]
                tiles[row, column, :, : places.shape[1], : places.shape[2]] = places
        return tiles.view(_TILE**2, -1)


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        kept, channels = weight.shape[:2]
        inputs, outputs = _INPUTS.to(x), _OUTPUTS.to(x)
        filters = (_FILTERS.to(x) @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(-1, channels, kept)
        pictures = x.permute(0, 2, 3, 1)
        tiling = _Tiling(*pictures.shape[:3])
        result = x.new_empty(*pictures.shape[:3], kept)
        transformed = []  # two to three times the memory of x; transforming it once more would take longer
        for chunk in tiling.chunks():
            windows = (inputs @ tiling.windows(pictures[chunk])).view(len(filters), -1, channels)
            products = torch.bmm(windows, filters)
            tiling.join(outputs @ products.view(len(filters), -1), result[chunk])
            transformed.append(windows)
        ctx.save_for_backward(filters, *transformed)
        return result.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        filters, *transformed = ctx.saved_tensors
        _, channels, kept = filters.shape
        inputs, outputs = _INPUTS.to(gradient), _OUTPUTS.to(gradient)
        gradients = gradient.permute(0, 2, 3, 1)
        tiling = _Tiling(*gradients.shape[:3])
        of_x = gradient.new_empty(*gradients.shape[:3], channels) if ctx.needs_input_grad[0] else None
        of_filters = torch.zeros_like(filters)
        for chunk, windows in zip(tiling.chunks(), transformed, strict=True):
            products = (outputs.T @ tiling.split(gradients[chunk])).view(len(filters), -1, kept)
            of_filters.baddbmm_(windows.transpose(1, 2), products)
            if of_x is not None:
                of_windows = inputs.T @ torch.bmm(products, filters.transpose(1, 2)).view(len(filters), -1)
                of_x[chunk] = tiling.add_windows(of_windows, chunk.stop - chunk.start)
        of_weight = (_FILTERS.to(gradient).T @ of_filters.view(len(filters), -1)).view(3, 3, channels, kept)
        return of_x if of_x is None else of_x.permute(0, 3, 1, 2), of_weight.permute(3, 2, 0, 1)


def _forward(self: nn.Conv2d, x: Tensor) -> Tensor:
    output: Tensor = _Winograd.apply(x, self.weight)  # type: ignore[no-untyped-call]
    return output


def _is_wide(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and (module.kernel_size, module.stride, module.dilation) == ((3, 3), (1, 1), (1, 1))
        and module.padding == (1, 1)
        and module.padding_mode == "zeros"
        and module.groups == 1
        and module.bias is None
        and module.in_channels + module.out_channels >= 2 * LEAST_CHANNELS
    )


def with_winograd(network: nn.Module) -> None:
    """Let every wide 3x3 convolution without stride or bias in `network` be computed so, in place."""
    for module in network.modules():
        if _is_wide(module):
            module.forward = MethodType(_forward, module)
