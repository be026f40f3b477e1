"""Augmentation: reflected shifts, alternating flips, cutout.

Every draw depends on (seed, epoch, step) alone, so a resumed run sees exactly the pictures that it would have seen.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from model.whitened_convnet import PIXEL_MEAN


def generator_for(*key: int) -> torch.Generator:
    """Make a random generator that depends on `key` alone."""
    state = 0
    for part in key:  # a linear congruence keeps neighbouring keys apart
        state = (state * 6_364_136_223_846_793_005 + part + 1_442_695_040_888_963_407) % 2**63
    return torch.Generator().manual_seed(state)


class Augmenter:
    """Shifts by up to `shift` pixels and mirrors the pictures that it was built with, and blots out a square of each.

    Each picture is mirrored in the even or in the odd epochs, by a coin thrown once: every two epochs show both sides
    of every picture, which random flips do not (arXiv:2404.00498, section 3.6). The square, `cutout` pixels a side,
    lies wholly inside and has the mean colour (DeVries and Taylor 2017, arXiv:1708.04552).
    """

    def __init__(self, images: Tensor, *, shift: int, cutout: int, seed: int) -> None:
        """Take `images`, uint8, shape (N, 3, H, W)."""
        self.seed = seed
        self.shift = shift
        self.cutout = cutout
        self.height, self.width = images.shape[2:]
        self.mirrored_when_even = torch.rand(len(images), generator=generator_for(seed)) < 0.5
        # Reflection padding knows no uint8 on the CPU; float16 holds 0 to 255 exactly.
        padded = F.pad(images.half(), (shift,) * 4, mode="reflect").byte()
        size = 2 * shift + 1
        self.windows = padded.unfold(2, self.height, 1).unfold(3, self.width, 1)  # (N, 3, size, size, H, W), a view
        assert self.windows.shape[2:4] == (size, size)

    def batch(self, indices: Tensor, *, epoch: int, step: int) -> Tensor:
        """Give the pictures at `indices`, augmented for this epoch and step: uint8, shape (len(indices), 3, H, W)."""
        generator = generator_for(self.seed, epoch, step)
        rows, columns = torch.randint(0, 2 * self.shift + 1, (2, len(indices)), generator=generator)
        images = self.windows[indices, :, rows, columns]
        mirrored = self.mirrored_when_even[indices] ^ bool(epoch % 2)
        images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)
        return self._blot(images, generator) if self.cutout else images

    def _blot(self, images: Tensor, generator: torch.Generator) -> Tensor:
        def span(length: int) -> Tensor:
            """Mark `cutout` neighbours of `length` places, shape (N, length)."""
            first = torch.randint(0, length - self.cutout + 1, (len(images), 1), generator=generator)
            places = torch.arange(length)
            return (places >= first) & (places < first + self.cutout)

        square = span(self.height)[:, None, :, None] & span(self.width)[:, None, None, :]
        mean = torch.tensor(PIXEL_MEAN).round().byte().view(1, 3, 1, 1)
        return torch.where(square, mean, images)
