"""3x3 convolutions by Winograd's minimal filtering, for training in float32.

Lavin and Gray 2015 (arXiv:1509.09308): a 7x7 tile of the output comes from 81 products a pair of channels instead of
441. Tiles are as large as they cover the output best. oneDNN computes float32 convolutions directly, close to the
processor's peak; with 384 channels this takes less than half of its time, with the same results but for rounding: about
1e-5 of their size with tiles of 7x7, where bfloat16 would lose 2.5e-3.
"""

import math
from collections.abc import Collection
from functools import cache, partial, reduce
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from training.machine import side_by_side

LEAST_CHANNELS: Final = 128
"""Of input and output together, on average; below, transforming the tiles takes longer than it saves."""

_POINTS: Final = {
    3: (0.38, 1.31),
    4: (0.63, 1.55),
    5: (0.29, 0.85, 1.81),
    6: (0.52, 1.04, 1.99),
    7: (0.23, 0.66, 1.12, 2.24),
}
"""By the side of the tiles: where the polynomials are evaluated, besides infinity and, for even sides, 0; both signs.

The best of a random search: they round up to four times more finely than the usual small fractions.
"""

_TILES_AT_ONCE: Final = 512  # fewer and larger operations, though beyond the second cache
_LEAST_CHUNKS: Final = 4  # so that two cores finish at about the same time


@cache
def _maps(tile: int) -> tuple[Tensor, Tensor, Tensor]:
    """Give the maps of flattened windows, filters and transforms, rows and columns in one.

    Their shapes are (P, P), (P, 9) and (T, P) for P = (tile + 2) ** 2 and T = tile ** 2.
    """
    points = np.array([0.0] * (tile % 2 == 0) + [sign * point for point in _POINTS[tile] for sign in (1, -1)])
    others = [np.delete(points, index) for index in range(len(points))]
    # A last row or column is for infinity: the polynomials' highest coefficients.
    inputs = np.zeros((tile + 2, tile + 2))
    for row, roots in enumerate([*others, points]):
        inputs[row, : len(roots) + 1] = np.poly(roots)[::-1]
    divisors = np.array([np.prod(point - rest) for point, rest in zip(points, others, strict=True)])
    filters = np.vstack((points[:, None] ** np.arange(3) / divisors[:, None], [0, 0, 1]))
    outputs = np.column_stack((points ** np.arange(tile)[:, None], np.eye(tile)[:, -1]))
    # Each point's three factors may be scaled against each other: alike, they round best.
    norms = np.stack([np.linalg.norm(part, axis=1) for part in (inputs, filters, outputs.T)])
    scales = np.cbrt(norms.prod(0)) / norms
    parts = inputs * scales[0, :, None], filters * scales[1, :, None], outputs * scales[2]
    of_inputs, of_filters, of_outputs = (torch.from_numpy(np.kron(part, part)).float() for part in parts)
    return of_inputs, of_filters, of_outputs


class _Tiling:
    """Cuts pictures, channels last, (N, H, W, C), into windows and their results into tiles, some pictures at a time.

    Results have the height and width of the pictures, or for `even` those rounded down to even numbers.
    """

    def __init__(self, count: int, height: int, width: int, *, even: bool) -> None:
        self.count, self.height, self.width = count, height, width
        self.result = (height // 2 * 2, width // 2 * 2) if even else (height, width)
        self.tile = min(_POINTS, key=lambda tile: math.prod(-(-side // tile) * (tile + 2) for side in self.result))
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
