"""VGG16 for 32x32 pictures: the thirteen convolutions of ImageNet's VGG16 with batch norm, and a smaller head.

Simonyan and Zisserman, configuration D of "Very Deep Convolutional Networks for Large-Scale Image Recognition"
(arXiv:1409.1556). Five poolings leave one position of a 32x32 picture, so of the three dense layers, made for 7x7
positions, two of 512 are left, as Liu and Deng found enough for CIFAR-10 ("Very deep convolutional neural network based
image classification using small training sample size", 2015).
"""

from typing import Final

from torch import Tensor, nn

from model.labels import LABELS
from model.network import Network, Normalize

# Mean and deviation of ImageNet's pictures in units of 0 to 255: the published weights expect them.
_MEAN: Final = (123.675, 116.28, 103.53)
_STD: Final = (58.395, 57.12, 57.375)
_BLOCKS: Final = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_DENSE: Final = 512
_DROPOUT: Final = 0.5


class Vgg16(Network):
    """VGG16 with batch norm; `features` can take the weights that were trained on ImageNet."""

    side = 32

    def __init__(self) -> None:
        super().__init__()
        self.normalize = Normalize(_MEAN, _STD)
        layers: list[nn.Module] = []
        channels = 3
        for widths in _BLOCKS:
            for width in widths:
                # No bias: the batch norm takes it out again.
                layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)  # (N, 512, 1, 1)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(_DROPOUT),
            nn.Linear(channels, _DENSE),
            nn.ReLU(),
            nn.Dropout(_DROPOUT),
            nn.Linear(_DENSE, len(LABELS)),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(self.normalize(pixels)))
        return logits
