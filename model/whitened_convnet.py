"""The compact network, trained from nothing: three blocks of two convolutions behind a fixed whitening layer.

The shape is that of the networks of Keller Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU"
(arXiv:2404.00498), with a wider first block: it is the cheapest family known to reach 94-95 % and its training fits
an hour on two CPU cores.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.labels import LABELS
from model.network import Network, Normalize

# Mean and standard deviation of CIFAR-10's training pictures by channel (red, green, blue), in units of 0 to 255.
PIXEL_MEAN: Final = (125.3, 123.0, 113.9)
PIXEL_STD: Final = (63.0, 62.1, 66.7)


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm and GELU; the first halves height and width by max pooling."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        for conv in (self.conv1, self.conv2):
            # Starts as the identity on the channels there are: the signal reaches the head from the first step.
            nn.init.dirac_(conv.weight.data[: conv.in_channels])
        for norm in (self.norm1, self.norm2):
            norm.weight.requires_grad_(False)  # scale is fixed by the orthogonalised updates of the convolutions

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class WhitenedConvNet(Network):
    """A compact convolutional network for 32x32 pictures, `widths` channels wide in its three blocks."""

    side = 32
    arguments = ("widths",)

    def __init__(self, widths: Sequence[int] = (64, 384, 384)) -> None:
        first, second, third = widths
        super().__init__()
        self.widths = list(widths)
        whitened_channels = 2 * 3 * 2 * 2  # both signs of every principal component of a 2x2 colour patch
        self.normalize = Normalize(PIXEL_MEAN, PIXEL_STD)
        self.whiten = nn.Conv2d(3, whitened_channels, 2)
        self.whiten.weight.requires_grad_(False)
        self.blocks = nn.Sequential(Block(whitened_channels, first), Block(first, second), Block(second, third))
        self.head = nn.Linear(third, len(LABELS), bias=False)
        nn.init.normal_(self.head.weight)
        # Unit-variance head weights need small outputs: without this the first logits would be tens wide.
        self.logit_scale = 1 / third

    def forward(self, pixels: Tensor) -> Tensor:
        x = F.gelu(self.whiten(self.normalize(pixels)))  # (N, 24, 31, 31)
        x = self.blocks(x)  # (N, widths[2], 3, 3)
        x = x.amax(dim=(2, 3))
        logits: Tensor = self.head(x) * self.logit_scale
        return logits

    @torch.no_grad()
    def init_whitening(self, pixels: Tensor, eps: float = 5e-4) -> None:
        """Set the first layer to whiten 2x2 patches of `pixels`, shape (N, 3, H, W), of 0 to 255."""
        x = self.normalize(pixels)
        patches = F.unfold(x, 2).transpose(1, 2).reshape(-1, 12)  # (patches, 3 * 2 * 2)
        covariance = patches.T @ patches / len(patches)
        eigenvalues, eigenvectors = torch.linalg.eigh(covariance)
        filters = (eigenvectors / torch.sqrt(eigenvalues + eps)).T.reshape(12, 3, 2, 2)
        self.whiten.weight.copy_(torch.cat((filters, -filters)))
