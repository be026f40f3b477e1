"""Augmentation for fine-tuning: one random affine view of each picture, straight at the network's resolution.

Shuffled and coarse pixels, noise and JPEG compression come first, at the picture's own resolution, as frosted glass,
enlarging and cameras add them. Cropping, scaling, turning and mirroring happen in the one interpolation that brings a
small picture to the network's side, so nothing is blurred twice. Works on any device; every random draw comes from the
generator that is passed in.
"""

from dataclasses import dataclass
from math import log, pi
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from training.pictures import through_jpeg

_LARGEST_DEVIATION: Final = 30.0
_QUALITIES: Final = (15, 90)
_FURTHEST_SHUFFLE: Final = 2  # pixels
_COARSEST: Final = 0.25  # of the pixels of a side are left


@dataclass(frozen=True)
class Views:
    """How much pictures are varied."""

    enlarged: float = 1.3  # largest factor of magnification
    reduced: float = 1.3  # largest factor of reduction; mirror images fill the sides
    stretch: float = 1.1  # largest factor of width over height
    shift: float = 0.1  # largest shift, as a share of the side
    turn: float = 12.0  # largest rotation in degrees, of half of the pictures
    mirrored: float = 0.5  # share of pictures that are mirrored
    colour: float = 0.3  # largest change of brightness, contrast and saturation, as a share
    haze: float = 0.1  # share of pictures whose contrast goes as far down as a fifth, darker or brighter
    blur: float = 0.1  # share of pictures that are blurred
    shuffled: float = 0.06  # share of pictures whose pixels change places with near ones
    coarse: float = 0.06  # share of pictures that are shown by fewer, larger pixels
    noise: float = 0.2  # share of pictures with noise
    jpeg: float = 0.15  # share of pictures that JPEG compresses, at a quality of 15 to 90
    cutout: float = 0.4  # largest side of the square blotted out of half of the pictures, as a share of the side

    def __call__(self, images: Tensor, side: int, generator: torch.Generator) -> Tensor:
        """Give one view of each picture, float32, 0 to 255: (N, 3, H, W) of 0 to 255 to (N, 3, side, side)."""
        pixels = self._shuffle(images.float(), generator)
        pixels = self._coarsen(pixels, generator)
        pixels = self._add_noise(pixels, generator)
        pixels = self._compress(pixels, generator)
        pixels = self.warp(pixels, side, generator)
        pixels = self._blur(pixels, generator)
        pixels = self._recolour(pixels, generator)
        pixels = self._add_haze(pixels, generator)
        return self._blot(pixels, generator).clamp(0, 255)

    def warp(self, pixels: Tensor, side: int, generator: torch.Generator) -> Tensor:
        """Scale, stretch, turn, shift and mirror pictures, float32 (N, 3, H, W), in one step: (N, 3, side, side)."""
        count = len(pixels)
        across, down, zoom, stretch, turn, turned, mirrored = torch.rand(7, count, generator=generator)
        zoom = torch.exp(zoom * log(self.enlarged * self.reduced) - log(self.enlarged))
        stretch = torch.exp((stretch - 0.5) * log(self.stretch))
        angle = (2 * turn - 1) * (self.turn * pi / 180) * (turned < 0.5)
        flip = torch.where(mirrored < self.mirrored, -1.0, 1.0)
        # Rows of the map from the view's coordinates, -1 to 1, to the picture's.
        rows = [
            [angle.cos() * flip * zoom * stretch, -angle.sin() * zoom / stretch, (2 * across - 1) * 2 * self.shift],
            [angle.sin() * flip * zoom * stretch, angle.cos() * zoom / stretch, (2 * down - 1) * 2 * self.shift],
        ]
        theta = torch.stack([torch.stack(row, 1) for row in rows], 1).to(pixels.device)
        grid = F.affine_grid(theta, [count, 3, side, side], align_corners=False)
        views: Tensor = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        return views

    def _recolour(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        factors = 1 + self.colour * (2 * torch.rand(3, len(pixels), 1, 1, 1, generator=generator) - 1)
        brightness, contrast, saturation = factors.to(pixels.device)
        grey = pixels.mean(1, keepdim=True)
        pixels = grey + saturation * (pixels - grey)
        middle = pixels.mean((1, 2, 3), keepdim=True)
        recoloured: Tensor = (middle + contrast * (pixels - middle)) * brightness
        return recoloured

    def _add_haze(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        drawn, depth, light = torch.rand(3, len(pixels), 1, 1, 1, generator=generator)
        kept = torch.where(drawn < self.haze, 1 - 0.8 * depth, 1.0).to(pixels.device)
        hazy: Tensor = kept * pixels + (1 - kept) * 255 * light.to(pixels.device)
        return hazy

    def _blur(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Blur a share of the pictures with a Gaussian, whose deviation is drawn for all of them, up to a 20th."""
        drawn, width = torch.rand(2, len(pixels), generator=generator)
        chosen = (drawn < self.blur).nonzero().flatten().to(pixels.device)
        side = pixels.shape[-1]
        deviation = side * (0.01 + 0.04 * width[0].item())
        reach = min(int(2.5 * deviation) + 1, side - 1)
        places = torch.arange(-reach, reach + 1, dtype=torch.float32, device=pixels.device)
        weights = torch.exp(-((places / deviation) ** 2) / 2)
        rows = (weights / weights.sum()).view(1, 1, 1, -1).expand(3, 1, 1, -1)
        blurred = F.pad(pixels[chosen], (reach,) * 4, mode="reflect")
        blurred = F.conv2d(F.conv2d(blurred, rows, groups=3), rows.transpose(2, 3), groups=3)
        return pixels.index_copy(0, chosen, blurred)

    def _shuffle(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Let the pixels of a share of the pictures be those of places up to two pixels away."""
        _, _, height, width = pixels.shape
        drawn, reach = torch.rand(2, len(pixels), generator=generator)
        chosen = (drawn < self.shuffled).nonzero().flatten()
        reach = (1 + (reach[chosen] * _FURTHEST_SHUFFLE).floor()).view(-1, 1, 1)
        away = 2 * torch.rand(2, len(chosen), height, width, generator=generator) - 1
        down, across = (away * (reach + 0.5)).round().clamp(-reach, reach).long()
        down = (down + torch.arange(height).view(-1, 1)).clamp(0, height - 1)
        across = (across + torch.arange(width)).clamp(0, width - 1)
        chosen, places = chosen.to(pixels.device), (down * width + across).to(pixels.device)
        flat = pixels[chosen].flatten(2)
        shuffled = flat.gather(2, places.flatten(1).unsqueeze(1).expand_as(flat))
        return pixels.index_copy(0, chosen, shuffled.view(len(chosen), *pixels.shape[1:]))

    def _coarsen(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Show a share of the pictures by fewer pixels, whose number is drawn for all of them."""
        drawn, share = torch.rand(2, len(pixels), generator=generator)
        chosen = (drawn < self.coarse).nonzero().flatten().to(pixels.device)
        size = tuple(round(length * (_COARSEST + (1 - _COARSEST) * share[0].item())) for length in pixels.shape[2:])
        coarse = F.interpolate(F.interpolate(pixels[chosen], size, mode="area"), pixels.shape[2:], mode="nearest")
        return pixels.index_copy(0, chosen, coarse)

    def _add_noise(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Add noise to a share of the pictures, of a strength drawn for each."""
        drawn, strength = torch.rand(2, len(pixels), generator=generator)
        # Drawn where the pictures are: a GPU would wait for the CPU's normal numbers.
        there = torch.Generator(pixels.device).manual_seed(int(torch.randint(2**62, (), generator=generator)))
        chosen = (drawn < self.noise).nonzero().flatten().to(pixels.device)
        noise = torch.randn((len(chosen), *pixels.shape[1:]), generator=there, device=pixels.device)
        deviations = _LARGEST_DEVIATION * strength.to(pixels.device)[chosen].view(-1, 1, 1, 1)
        return pixels.index_add(0, chosen, deviations * noise)

    def _compress(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Give a share of the pictures the blocks and blur of JPEG, at a quality drawn for each."""
        drawn, quality = torch.rand(2, len(pixels), generator=generator)
        least, most = _QUALITIES
        chosen = (drawn < self.jpeg).nonzero().flatten()
        if not len(chosen):
            return pixels
        spoilt = []
        for index in chosen.tolist():
            array = pixels[index].clamp(0, 255).round().byte().permute(1, 2, 0).cpu().numpy()
            compressed = through_jpeg(array, round(least + (most - least) * quality[index].item()))
            spoilt.append(torch.from_numpy(compressed).permute(2, 0, 1))
        return pixels.index_copy(0, chosen.to(pixels.device), torch.stack(spoilt).to(pixels))

    def _blot(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        count, _, height, width = pixels.shape
        drawn, size, across, down = torch.rand(4, count, 1, generator=generator)
        size = size * self.cutout * (drawn < 0.5)

        def span(length: int, first: Tensor) -> Tensor:
            places = torch.arange(length) / length
            first = first * (1 - size)
            inside: Tensor = (places >= first) & (places < first + size)
            return inside

        square = span(height, down)[:, None, :, None] & span(width, across)[:, None, None, :]
        return torch.where(square.to(pixels.device), torch.full((), 127.0, device=pixels.device), pixels)
