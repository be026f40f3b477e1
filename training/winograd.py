"""3x3 convolutions by Winograd's minimal filtering, for training in float32.

F(4x4, 3x3) of Lavin and Gray 2015 (arXiv:1509.09308): every 4x4 tile of the output comes from 36 products a pair of
channels instead of 144. Where they cover the output better, tiles are 3x3, of 25 products. oneDNN computes float32
convolutions directly, close to the processor's peak; with 384 channels this takes half to two thirds of its time, with
the same results but for rounding (about 3e-6 of their size).
"""

import math
from collections.abc import Collection
from functools import cache, partial, reduce
from typing import Any, Final

import torch
from torch import Tensor, nn

from training.machine import side_by_side

LEAST_CHANNELS: Final = 128
"""Of input and output together, on average; below, transforming the tiles takes longer than it saves."""

_TILES: Final = (4, 3)  # the sides of the output's; the first one where both need as many products
_TILES_AT_ONCE: Final = 512  # fewer and larger operations, though beyond the second cache
_LEAST_CHUNKS: Final = 4  # so that two cores finish at about the same time

# For tiles of 4x4, at the points 0, 1, -1, 2, -2 and infinity. Infinity is for the fourth row and column alone.
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


@cache
def _maps(tile: int) -> tuple[Tensor, Tensor, Tensor]:
    """Give the maps of flattened windows, filters and transforms, rows and columns in one.

    Their shapes are (P, P), (P, 9) and (T, P) for P = (tile + 2) ** 2 and T = tile ** 2.
    """
    window = tile + 2
    parts = _INPUT[:window, :window], _FILTER[:window], _OUTPUT[:tile, :window]
    inputs, filters, outputs = (torch.kron(part, part) for part in parts)
    return inputs, filters, outputs


class _Tiling:
    """Cuts pictures, channels last, (N, H, W, C), into windows and their results into tiles, some pictures at a time.

    Results have the height and width of the pictures, or for `even` those rounded down to even numbers.
    """

    def __init__(self, count: int, height: int, width: int, *, even: bool) -> None:
        self.count, self.height, self.width = count, height, width
        self.result = (height // 2 * 2, width // 2 * 2) if even else (height, width)
        self.tile = min(_TILES, key=lambda tile: math.prod(-(-side // tile) * (tile + 2) for side in self.result))
        self.window = self.tile + 2
        self.down, self.across = (-(-side // self.tile) for side in self.result)

    def chunks(self) -> list[slice]:
        """Give the pictures that are computed together."""
        size = max(1, min(_TILES_AT_ONCE // (self.down * self.across), -(-self.count // _LEAST_CHUNKS)))
        return [slice(first, min(first + size, self.count)) for first in range(0, self.count, size)]

    def _padded(self, count: int, channels: int) -> Tensor:
        """Give zeros for so many pictures and what windows reach beyond them."""
        return torch.zeros(count, self.tile * self.down + 2, self.tile * self.across + 2, channels)

    def windows(self, pictures: Tensor) -> Tensor:
        """Give the overlapping windows of pictures, zero outside them, shape (P, tiles * C)."""
        count, _, _, channels = pictures.shape
        padded = self._padded(count, channels)
        padded[:, 1 : self.height + 1, 1 : self.width + 1] = pictures
        picture, row, column, _ = padded.stride()
        shape = (self.window, self.window, count, self.down, self.across, channels)
        return padded.as_strided(shape, (row, column, picture, self.tile * row, self.tile * column, 1)).reshape(
            self.window**2, -1
        )

    def add_windows(self, windows: Tensor, count: int) -> Tensor:
        """Add windows up where they overlap, as the adjoint of `windows`: shape (count, H, W, C)."""
        parts = windows.view(self.window, self.window, count, self.down, self.across, -1)
        padded = self._padded(count, parts.shape[-1])
        for row in range(self.window):
            for column in range(self.window):
                rows = slice(row, row + self.tile * (self.down - 1) + 1, self.tile)
                columns = slice(column, column + self.tile * (self.across - 1) + 1, self.tile)
                padded[:, rows, columns] += parts[row, column]
        return padded[:, 1 : self.height + 1, 1 : self.width + 1]

    def join(self, tiles: Tensor, results: Tensor) -> None:
        """Write tiles, shape (T, tiles * C), into results."""
        parts = tiles.view(self.tile, self.tile, len(results), self.down, self.across, -1)
        for row in range(self.tile):
            for column in range(self.tile):
                places = results[:, row :: self.tile, column :: self.tile]
                places.copy_(parts[row, column, :, : places.shape[1], : places.shape[2]])

    def split(self, results: Tensor) -> Tensor:
        """Give the tiles of results, zero outside them, as the adjoint of `join`: shape (T, tiles * C)."""
        count, _, _, channels = results.shape
        tiles = results.new_zeros(self.tile, self.tile, count, self.down, self.across, channels)
        for row in range(self.tile):
            for column in range(self.tile):
                places = results[:, row :: self.tile, column :: self.tile]
                tiles[row, column, :, : places.shape[1], : places.shape[2]] = places
        return tiles.view(self.tile**2, -1)


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, even: bool) -> Tensor:
        kept, channels = weight.shape[:2]
        pictures = x.permute(0, 2, 3, 1)
        tiling = _Tiling(*pictures.shape[:3], even=even)
        inputs, of_filters, outputs = _maps(tiling.tile)
        filters = (of_filters @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(-1, channels, kept)
        result = x.new_empty(len(pictures), *tiling.result, kept)

        def convolve(chunk: slice) -> Tensor:
            windows = (inputs @ tiling.windows(pictures[chunk])).view(len(filters), -1, channels)
            products = torch.bmm(windows, filters)
            tiling.join(outputs @ products.view(len(filters), -1), result[chunk])
            return windows

        # Kept, two to three times the memory of x: transforming it once more would take longer.
        transformed = side_by_side(convolve, tiling.chunks())
        ctx.tiling = tiling
        ctx.save_for_backward(filters, *transformed)
        return result.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        filters, *transformed = ctx.saved_tensors
        _, channels, kept = filters.shape
        tiling = ctx.tiling
        inputs, of_filters, outputs = _maps(tiling.tile)
        gradients = gradient.permute(0, 2, 3, 1)
        of_x = gradient.new_empty(tiling.count, tiling.height, tiling.width, channels)

        def of_chunk(part: tuple[slice, Tensor]) -> Tensor:
            chunk, windows = part
            products = (outputs.T @ tiling.split(gradients[chunk])).view(len(filters), -1, kept)
            if ctx.needs_input_grad[0]:
                of_windows = inputs.T @ torch.bmm(products, filters.transpose(1, 2)).view(len(filters), -1)
                of_x[chunk] = tiling.add_windows(of_windows, chunk.stop - chunk.start)
            return torch.bmm(windows.transpose(1, 2), products)

        # Added up in their order, for sums that do not depend on which thread was faster.
        of_products = reduce(Tensor.add_, side_by_side(of_chunk, zip(tiling.chunks(), transformed, strict=True)))
        of_weight = (of_filters.T @ of_products.view(len(filters), -1)).view(3, 3, channels, kept).permute(3, 2, 0, 1)
        return (of_x.permute(0, 3, 1, 2) if ctx.needs_input_grad[0] else None), of_weight, None


def _forward(convolution: nn.Module, x: Tensor, *, even: bool) -> Tensor:
    output: Tensor = _Winograd.apply(x, convolution.get_parameter("weight"), even)  # type: ignore[no-untyped-call]
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


def with_winograd(network: nn.Module, even: Collection[nn.Module] = ()) -> None:
    """Let every wide 3x3 convolution without stride or bias in `network` be computed so, in place.

    Those in `even` leave out the last row or column of an odd number of them, which pooling by two never reads.
    """
    for module in network.modules():
        if _is_wide(module):
            module.forward = partial(_forward, module, even=module in even)
