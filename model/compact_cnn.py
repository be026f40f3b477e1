"""The compact CNN that tutorials build in Keras: four convolutions and a small dense layer, 187,402 numbers in all.

Each 3x3 convolution is followed by ReLU and batch norm (Ioffe and Szegedy, arXiv:1502.03167); dropout (Srivastava et
al. 2014) keeps it from learning by heart. Weights start as He (arXiv:1502.01852) and Glorot (2010) have them. Keras
counts the 576 running means and variances of the batch norms among the parameters; 186,826 are trained. The dropout
rates are ours: descriptions of this network leave them open.
"""

from typing import Final

from torch import Tensor, nn

from model.labels import LABELS
from model.network import Network, Normalize
from model.whitened_convnet import PIXEL_MEAN, PIXEL_STD

_WIDTHS: Final = (32, 64, 128, 64)
_DENSE: Final = 256
_CONV_DROPOUT: Final = 0.1
_DENSE_DROPOUT: Final = 0.3


class CompactCnn(Network):
    """A small network for 32x32 pictures; `batch_norm` and `dropout` can be left out to see what they do."""

    side = 32
    arguments = ("batch_norm", "dropout")

    def __init__(self, batch_norm: bool = True, dropout: bool = True) -> None:
        super().__init__()
        self.batch_norm = batch_norm
        self.dropout = dropout
        first, second, third, fourth = _WIDTHS
        self.normalize = Normalize(PIXEL_MEAN, PIXEL_STD)
        self.features = nn.Sequential(
            *self._conv(3, first),  # 30x30
            *self._dropout(_CONV_DROPOUT),
            *self._conv(first, second),  # 28x28
            nn.MaxPool2d(2),
            *self._conv(second, third, padding=1),  # 14x14
            nn.MaxPool2d(2),
            *self._conv(third, fourth),  # 5x5
            nn.MaxPool2d(5),
        )
        last = nn.Linear(_DENSE, len(LABELS))
        self.head = nn.Sequential(
            nn.Flatten(),
            *self._dropout(_DENSE_DROPOUT),
            nn.Linear(fourth, _DENSE),
            nn.ReLU(),
            *self._dropout(_DENSE_DROPOUT),
            last,
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)  # He's, for ReLU
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        nn.init.xavier_uniform_(last.weight)  # Glorot's, since no ReLU follows

    def _conv(self, in_channels: int, channels: int, padding: int = 0) -> list[nn.Module]:
        conv = nn.Conv2d(in_channels, channels, 3, padding=padding)
        return [conv, nn.ReLU(), *([nn.BatchNorm2d(channels)] if self.batch_norm else [])]

    def _dropout(self, share: float) -> list[nn.Module]:
        return [nn.Dropout(share)] if self.dropout else []

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(self.normalize(pixels)))
        return logits
