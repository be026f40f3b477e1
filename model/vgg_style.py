"""A VGG-style network: 3x3 convolutions in blocks, each halved by max pooling, and three wide dense layers.

After Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (arXiv:1409.1556),
cut down to 32x32 pictures, with batch norm (arXiv:1502.03167). Nine in ten of its weights lie in the dense layers.
"""

from itertools import pairwise
from typing import Final

from torch import Tensor, nn

from model.labels import LABELS
from model.network import Network, Normalize
from model.whitened_convnet import PIXEL_MEAN, PIXEL_STD

_BLOCKS: Final = ((32,), (64, 64), (128, 128))
_DENSE: Final = (2048, 1024, 512)
_DROPOUT: Final = 0.5


class VggStyle(Network):
    """Five convolutions and four dense layers; `batch_norm` and `dropout` can be left out to see what they do."""

    side = 32
    arguments = ("batch_norm", "dropout")

    def __init__(self, batch_norm: bool = True, dropout: bool = True) -> None:
        super().__init__()
        self.batch_norm = batch_norm
        self.dropout = dropout
        self.normalize = Normalize(PIXEL_MEAN, PIXEL_STD)
        layers: list[nn.Module] = []
        channels = 3
        for widths in _BLOCKS:
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                layers += [nn.BatchNorm2d(width)] if batch_norm else []
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)  # (N, 128, 4, 4)
        dense: list[nn.Module] = [nn.Flatten()]
        for features, width in pairwise((channels * 4 * 4, *_DENSE)):
            dense += [nn.Linear(features, width), nn.ReLU()]
            dense += [nn.BatchNorm1d(width)] if batch_norm else []
            dense += [nn.Dropout(_DROPOUT)] if dropout else []
        last = nn.Linear(_DENSE[-1], len(LABELS))
        self.head = nn.Sequential(*dense, last)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        nn.init.xavier_uniform_(last.weight)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(self.normalize(pixels)))
        return logits
