"""What every network here has in common: what goes in, what comes out, how it is described and built again."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class Network(nn.Module, ABC):
    """A network for square pictures.

    `forward` takes pixels of 0 to 255, shape (N, 3, side, side), uint8 or floating, and gives outputs of shape (N, 10)
    or (N, 11): the logits of the ten classes, in the labels' order, and of none of the ten where the network was
    trained to know it.
    """

    side: int
    """Height and width of the input, in pixels."""

    arguments: ClassVar[tuple[str, ...]] = ()
    """The constructor's arguments that make it another network; each is also an attribute with a plain value."""

    def describe(self) -> dict[str, Any]:
        """Give those arguments' values: with the class's name, all that building it again needs."""
        return {name: getattr(self, name) for name in self.arguments}

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor: ...


class Normalize(nn.Module):
    """Bring pixels of 0 to 255 to about zero mean and unit deviation by channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        # Not persistent: constants of the code, not learnt weights.
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels.to(self.mean.dtype) - self.mean) / self.std


def channels_last(network: nn.Module) -> None:
    """Lay the network's filters out as oneDNN's convolutions like them best."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
