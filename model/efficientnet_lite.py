"""EfficientNet-Lite: inverted residuals without squeeze-and-excite, made for small processors and 8-bit arithmetic.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (arXiv:1905.11946), in the form
that its authors published for mobile processors: ReLU6 for swish, stem and head of the same width in every variant.
The padding is TensorFlow's, since the ImageNet weights that training starts from were made with it.
"""

from math import ceil
from typing import Final

from torch import Tensor, nn
from torch.nn import functional as F

from model.labels import NONE_COLUMN
from model.network import Network, Normalize

# repeats, kernel, stride, expansion, channels
_STAGES: Final = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_SCALES: Final = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}  # variant: factors of width and depth
_STEM_CHANNELS: Final = 32
_HEAD_CHANNELS: Final = 1280
_TOTAL_STRIDE: Final = 32


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and, unless `linear`, ReLU6; padded so that a stride of 2 halves an even side."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int, *, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        # For an even side TensorFlow pads one pixel less in front than behind; torch's own padding cannot.
        behind = kernel // 2
        self.pad = (behind - 1, behind, behind - 1, behind) if stride == 2 else None
        padding = 0 if self.pad else behind
        super().__init__(
            nn.Conv2d(in_channels, channels, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(channels, eps=1e-3),
            nn.Identity() if linear else nn.ReLU6(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.pad:
            x = F.pad(x, self.pad)
        output: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return output


class InvertedResidual(nn.Module):
    """Widen by 1x1, filter each channel by itself, narrow by 1x1; added to the input where shapes allow."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.layers = nn.Sequential(
            *([ConvNorm(in_channels, wide, 1)] if expansion > 1 else []),
            ConvNorm(wide, wide, kernel, stride=stride, groups=wide),
            ConvNorm(wide, channels, 1, linear=True),
        )
        self.is_residual = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.layers(x)
        return x + output if self.is_residual else output


class EfficientNetLite(Network):
    """EfficientNet-Lite 0, 1 or 2 (`variant`) for pictures of `side` pixels, a multiple of 32.

    `outputs` is 11: the ten classes and none of them; 1,000 for ImageNet's.
    """

    arguments = ("variant", "side")

    def __init__(self, variant: int = 0, side: int = 128, outputs: int = NONE_COLUMN + 1, dropout: float = 0.2) -> None:
        if variant not in _SCALES:
            raise ValueError(f"variant must be one of {', '.join(map(str, _SCALES))}, not {variant}")
        if side < _TOTAL_STRIDE or side % _TOTAL_STRIDE:
            raise ValueError(f"side must be a multiple of {_TOTAL_STRIDE} pixels, not {side}")
        super().__init__()
        self.variant = variant
        self.side = side
        self.normalize = Normalize((127.0,) * 3, (128.0,) * 3)
        self.stem = ConvNorm(3, _STEM_CHANNELS, 3, stride=2)
        blocks: list[nn.Module] = []
        channels = _STEM_CHANNELS
        width, depth = _SCALES[variant]
        for index, (repeats, kernel, stride, expansion, stage_channels) in enumerate(_STAGES):
            ends = index in (0, len(_STAGES) - 1)
            for repeat in range(repeats if ends else ceil(depth * repeats)):
                wanted = _round_to_eight(stage_channels * width)
                blocks.append(InvertedResidual(channels, wanted, kernel, 1 if repeat else stride, expansion))
                channels = wanted
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(channels, _HEAD_CHANNELS, 1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(_HEAD_CHANNELS, outputs)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.stem(self.normalize(pixels))
        x = self.head(self.blocks(x)).mean(dim=(2, 3))
        outputs: Tensor = self.classifier(self.dropout(x))
        return outputs


def _round_to_eight(channels: float) -> int:
    """Round to a multiple of eight, but not down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
