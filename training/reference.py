"""The reference recipe: any network by its name, under conditions that are the same for all of them.

Same pictures, split, augmentation, batch, number of epochs, slowing down and stopping; only the optimiser is each
network's own. Nothing is tuned to a network: the recipe is for comparing, not for the best figure of each.
"""

from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F

from model.network import Network
from model.networks import NETWORKS, build
from training.augment import Augmenter
from training.data import Cifar10
from training.depthwise import with_fast_gradients
from training.machine import autocast
from training.plateau import best_epoch, is_over, reductions
from training.pretrained import pretrained_network, vgg16_from_imagenet
from training.run import Training, resized
from training.settings import Settings, knob

PRETRAINED: Final = ("EfficientNetLite", "Vgg16")
"""The networks whose ImageNet weights can be had."""
SHIFT: Final = 4
"""Largest random shift, in pixels: that of He et al. 2015, section 4.2."""


@dataclass(frozen=True)
class Optimizer:
    """A network's own settings."""

    name: str  # adam, which with weight decay is AdamW, or sgd with Nesterov momentum 0.9
    lr: float  # at the start, before any reduction
    weight_decay: float
    form: dict[str, Any]  # of the network, besides batch norm and dropout


OPTIMIZERS: Final = {
    # Keras's defaults for Adam, which both are usually trained with.
    "CompactCnn": Optimizer("adam", 1e-3, 0.0, {}),
    "VggStyle": Optimizer("adam", 1e-3, 0.0, {}),
    # The paper's own.
    "ResNet": Optimizer("sgd", 0.1, 1e-4, {"depth": 20}),
    # The paper's weight decay and twice its rate: batch norm allows it.
    "Vgg16": Optimizer("sgd", 0.02, 5e-4, {}),
    # That of the served recipe; pictures are enlarged to the least side that keeps a map of several pixels.
    "EfficientNetLite": Optimizer("adam", 6e-4, 0.02, {"variant": 0, "side": 64}),
}


@dataclass(frozen=True)
class ReferenceSettings(Settings):
    """The reference recipe's knobs."""

    run: Path = knob(
        Path("runs/reference"), "the run's folder: settings, progress, weights of every epoch", decides=False
    )
    network: str = knob("CompactCnn", f"which network: {', '.join(OPTIMIZERS)}")
    epochs: int = knob(20, "most passes over the 45,000 training pictures")
    batch_size: int = knob(128, "pictures a step")
    augment: bool = knob(True, "mirror and shift the pictures")
    batch_norm: bool = knob(True, "keep the network's batch norm, where it can be left out")
    dropout: bool = knob(True, "keep the network's dropout, where it can be left out")
    pretrained: bool = knob(False, f"start from ImageNet's weights where they can be had ({', '.join(PRETRAINED)})")
    plateau: int = knob(2, "epochs without a lower validation loss after which the learning rate is reduced")
    reduction: float = knob(0.3, "what it is multiplied by then")
    patience: int = knob(5, "epochs without a lower validation loss after which the run ends")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.network not in OPTIMIZERS:
            raise ValueError(f"network must be one of {', '.join(OPTIMIZERS)}, not {self.network!r}")
        for name in ("batch_norm", "dropout"):
            if not getattr(self, name) and name not in NETWORKS[self.network].arguments:
                raise ValueError(f"{name} cannot be left out of {self.network}")
        if self.pretrained and self.network not in PRETRAINED:
            raise ValueError(f"there are no pretrained weights of {self.network}, only of {', '.join(PRETRAINED)}")
        self.within(1, inf, "plateau", "patience")
        self.within(0, 1, "reduction")

    def as_json(self) -> dict[str, Any]:
        return super().as_json() | {"optimizer": asdict(OPTIMIZERS[self.network])}


class ReferenceTraining(Training):
    """One optimiser for all weights; validation data reduce its learning rate, end the run and choose the epoch."""

    recipe = "reference"
    settings: ReferenceSettings

    def __init__(self, settings: ReferenceSettings, data: Cifar10, console: Console) -> None:
        torch.manual_seed(settings.seed)
        network, self.start = _network(settings, console)
        super().__init__(settings, data, network)
        if self.device.type == "cpu":
            with_fast_gradients(self.network)
        self.augmenter = Augmenter(self.images, shift=SHIFT, cutout=0, seed=settings.seed) if settings.augment else None
        own = OPTIMIZERS[settings.network]
        parameters = list(self.network.parameters())
        self.optimizers = [
            torch.optim.AdamW(parameters, lr=own.lr, weight_decay=own.weight_decay)
            if own.name == "adam"
            else torch.optim.SGD(parameters, lr=own.lr, weight_decay=own.weight_decay, momentum=0.9, nesterov=True)
        ]

    @property
    def validation_losses(self) -> list[float]:
        """Validation loss of every epoch so far."""
        return [row["validation_loss"] for row in self.progressed.epochs]

    @property
    def is_finished(self) -> bool:
        return super().is_finished or is_over(self.validation_losses, self.settings.patience)

    @property
    def chosen_epoch(self) -> int:
        """Give the epoch of the least validation loss, so that no network is judged by the epochs it stopped after."""
        return best_epoch(self.validation_losses)

    @property
    def learning_rate(self) -> float:
        """The optimiser's rate in this epoch."""
        settings = self.settings
        count = reductions(self.validation_losses, settings.plateau)
        return OPTIMIZERS[settings.network].lr * settings.reduction**count

    def state(self) -> dict[str, Any]:
        return {"start": self.start}

    def load_state(self, state: dict[str, Any]) -> None:
        self.start = state["start"]

    def notes(self) -> dict[str, Any]:
        return {"start": self.start}

    def learn(self, indices: Tensor) -> tuple[float, int]:
        epoch, step = self.progressed.epoch, self.progressed.step
        images = self.augmenter.batch(indices, epoch=epoch, step=step) if self.augmenter else self.images[indices]
        pixels = resized(images.to(self.device), self.network.side)
        labels = self.labels[indices].to(self.device)
        [optimizer] = self.optimizers
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate
        torch.manual_seed(hash((self.settings.seed, self.steps_done)))  # for dropout
        with autocast(self.device):
            outputs = self.network(pixels.contiguous(memory_format=torch.channels_last)).float()
        loss = F.cross_entropy(outputs, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item() * len(labels), int((outputs.argmax(1) == labels).sum())


def _network(settings: ReferenceSettings, console: Console) -> tuple[Network, str]:
    """Make the network that a run starts from, and say what it starts from."""
    own = OPTIMIZERS[settings.network].form
    if settings.pretrained and settings.network == "EfficientNetLite":
        return pretrained_network(own["variant"], own["side"]), "ImageNet"
    if settings.pretrained:
        try:
            return vgg16_from_imagenet(), "ImageNet"
        except OSError as error:
            console.print(f"ImageNet's weights of VGG16 cannot be had here ({error}); it starts from random weights")
    description = own | {"name": settings.network, "batch_norm": settings.batch_norm, "dropout": settings.dropout}
    return build(description), "random weights"
