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
from training.folded import with_fixed_statistics
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

    def __init__(self, paths: Sequence[Path], sides: Sequence[int], device: torch.device) -> None:
        """Read each from its file of weights; it sees no view larger than its own of `sides`, in pixels.

        Raises:
            DataError: a file has no such weights.
        """
        self.networks = [
            read_network(path, side).to(device).eval().requires_grad_(False)
            for path, side in zip(paths, sides, strict=True)
        ]
        for network in self.networks:
            channels_last(network)
            with_fixed_statistics(network)

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Give probabilities of the ten classes and none, float32 (N, 11), for square float pixels (N, 3, H, H).

        Every other teacher sees the mirror image: that makes their mean better at no cost.
        """
        sides = {network.side for network in self.networks}
        views = {side: resized(pixels, min(side, pixels.shape[-1])) for side in sides}
        answers = []
        for index, network in enumerate(self.networks):
            view = views[network.side].flip(-1) if index % 2 else views[network.side]
            with autocast(pixels.device):
                outputs = network(view.contiguous(memory_format=torch.channels_last))
            answers.append(outputs.float().softmax(1))
        return torch.stack(answers).mean(0)
