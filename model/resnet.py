"""The residual network for CIFAR-10 of He et al., "Deep Residual Learning for Image Recognition" (arXiv:1512.03385).

Section 4.2: three stages of 16, 32 and 64 channels on 32x32, 16x16 and 8x8 pixels. Shortcuts have no weights: where
channels double, the missing ones are zeros (the paper's option A).
"""

from torch import Tensor, nn
from torch.nn import functional as F

from model.labels import LABELS
from model.network import Network, Normalize
from model.whitened_convnet import PIXEL_MEAN, PIXEL_STD


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to the input; a `stride` of 2 halves height and width."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.new_channels = channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))
        x = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(x)) + shortcut)


class ResNet(Network):
    """A residual network for 32x32 pictures, `depth` layers deep: 20, 32, 44, 56 or 110 in the paper."""

    side = 32
    arguments = ("depth",)

    def __init__(self, depth: int = 20) -> None:
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth must be 6n + 2, 8 or more, not {depth}")
        super().__init__()
        self.depth = depth
        self.normalize = Normalize(PIXEL_MEAN, PIXEL_STD)
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        blocks: list[nn.Module] = []
        channels = 16
        for width in (16, 32, 64):
            for index in range((depth - 2) // 6):
                blocks.append(ResidualBlock(channels, width, stride=2 if index == 0 and width > 16 else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, len(LABELS))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, pixels: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(self.normalize(pixels))))
        x = self.blocks(x).mean(dim=(2, 3))
        logits: Tensor = self.head(x)
        return logits
