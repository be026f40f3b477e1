"""Teachers: trained networks whose mean answer to the very view that a network learns from is its target.

Networks that were trained apart err apart, so their mean is better than each, and it says of every view how much can be
seen in it. Learner and teachers share crop, colours and mixing: what is learned is the teachers' function, not their
answers to a fixed set of pictures (Beyer et al. 2022, arXiv:2106.05237).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from model.efficientnet_lite import EfficientNetLite
from model.network import channels_last
from training.data import DataError
from training.machine import autocast
from training.pretrained import VARIANTS
from training.run import resized


def read_network(path: Path, side: int) -> EfficientNetLite:
    """Build the network whose weights a file holds, of whichever variant they are, for pictures of `side` pixels.

    Raises:
        DataError: there is no such file, or it has no weights of such a network.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"no weights can be read from {path}: {error}") from error
    shapes = {name: value.shape for name, value in state.items()}
    for variant in VARIANTS:
        network = EfficientNetLite(variant, side)
        if {name: value.shape for name, value in network.state_dict().items()} == shapes:
            network.load_state_dict(state)
            return network
    raise DataError(f"{path} has no weights of EfficientNet-Lite {' or '.join(map(str, VARIANTS))} for these classes")


class Teachers:
    """The mean of several networks' probabilities."""

    def __init__(self, paths: Sequence[Path], side: int, device: torch.device) -> None:
        """Read each from its file of weights; they see no view larger than `side` pixels.

        Raises:
            DataError: a file has no such weights.
        """
        self.side = side
        self.networks = [read_network(path, side).to(device).eval().requires_grad_(False) for path in paths]
        for network in self.networks:
            channels_last(network)

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Give probabilities of the ten classes and none, float32 (N, 11), for square float pixels (N, 3, H, H).

        Every other teacher sees the mirror image: that makes their mean better at no cost.
        """
        pixels = resized(pixels, min(self.side, pixels.shape[-1]))
        ways = [pixels.contiguous(memory_format=torch.channels_last)]
        if len(self.networks) > 1:
            ways.append(pixels.flip(-1).contiguous(memory_format=torch.channels_last))
        with autocast(pixels.device):
            answers = [network(ways[index % 2]).float().softmax(1) for index, network in enumerate(self.networks)]
        return torch.stack(answers).mean(0)
