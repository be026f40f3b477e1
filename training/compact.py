"""The compact recipe: a network from nothing, within an hour on two CPU cores."""

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from model.whitened_convnet import WhitenedConvNet
from training.augment import Augmenter, generator_for
from training.data import Cifar10
from training.hard import HardPictures, check, epochs_knob
from training.machine import autocast, computes_bfloat16
from training.muon import Muon
from training.run import Training
from training.settings import Settings, knob
from training.views import Views
from training.winograd import with_winograd

_WARP: Final = Views(enlarged=1.2, reduced=1.2, stretch=1.15, turn=15.0, shift=0.0, mirrored=0.0)
"""How far pictures are warped: less than larger ones would bear, since turning 32x32 pixels blurs them."""


@dataclass(frozen=True)
class CompactSettings(Settings):
    """The compact recipe's knobs."""

    run: Path = knob(
        Path("runs/compact"), "the run's folder: settings, progress, weights of every epoch", decides=False
    )
    epochs: int = knob(24, "passes over the 45,000 training pictures")
    batch_size: int = knob(500, "pictures a step; 500 also trains faster on two cores than 1,000 (caches)")
    widths: tuple[int, ...] = knob((64, 384, 384), "channels of the three blocks")
    conv_lr: float = knob(0.12, "size of Muon's steps relative to the weights, falling linearly to 0")
    conv_momentum: float = knob(0.6, "Muon's momentum")
    bias_lr: float = knob(0.053, "of the batch norms' and the first layer's biases, for a loss summed over the batch")
    head_lr: float = knob(0.67, "of the last layer, likewise")
    momentum: float = knob(0.85, "Nesterov momentum of biases and last layer")
    weight_decay: float = knob(2e-6, "of biases and last layer, a picture")
    label_smoothing: float = knob(0.2, "share of the target that is spread over all classes")
    whiten_bias_epochs: int = knob(3, "epochs after which the first layer's bias stands still")
    shift: int = knob(4, "largest random shift, in pixels")
    cutout: int = knob(8, "side of the square that is blotted out of each picture, in pixels")
    warped: float = knob(0.5, "share of the pictures that are turned, scaled and stretched a little")
    hard_epochs: tuple[int, ...] = epochs_knob(3, 15)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.widths) != 3 or min(self.widths) < 1:
            raise ValueError(f"widths must be three positive numbers, not {self.widths}")
        self.within(0, 31, "shift")  # pictures have 32 pixels a side, and edges are mirrored
        self.within(0, 32, "cutout")
        self.within(0, 1, "warped", "label_smoothing")
        self.within(0, inf, "conv_lr", "conv_momentum", "weight_decay", "whiten_bias_epochs")
        self.above_zero("bias_lr", "head_lr", "momentum")
        check(self.hard_epochs)


def computed_by_winograd(network: WhitenedConvNet) -> None:
    """Let the wide convolutions of `network` be computed so, in place."""
    with_winograd(network, even=[block.get_submodule("conv1") for block in network.blocks])


class CompactTraining(Training):
    """Muon for the filters, SGD for everything with one dimension and for the last layer."""

    recipe = "compact"
    settings: CompactSettings
    network: WhitenedConvNet

    def __init__(self, settings: CompactSettings, data: Cifar10) -> None:
        torch.manual_seed(settings.seed)
        super().__init__(settings, data, WhitenedConvNet(settings.widths))
        self.network.init_whitening(self.images[:5_000].to(self.device))
        self.augmenter = Augmenter(self.images, shift=settings.shift, cutout=settings.cutout, seed=settings.seed)
        self.hard = HardPictures(len(self.images), settings.hard_epochs, settings.seed)
        if not computes_bfloat16(self.device):
            computed_by_winograd(self.network)
        self.optimizers = self._optimizers()
        self.base_lrs = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        settings, network = self.settings, self.network
        # SGD multiplies decay by the learning rate; dividing here makes it a share of the weight a step.
        decay = settings.weight_decay * settings.batch_size
        biases = [p for n, p in network.named_parameters() if ".norm" in n and p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [network.whiten.bias], "lr": settings.bias_lr, "weight_decay": decay / settings.bias_lr},
            {"params": biases, "lr": settings.bias_lr, "weight_decay": decay / settings.bias_lr},
            {"params": [network.head.weight], "lr": settings.head_lr, "weight_decay": decay / settings.head_lr},
        ]
        filters = [p for p in network.blocks.parameters() if p.ndim == 4]
        return [
            torch.optim.SGD(groups, lr=settings.head_lr, momentum=settings.momentum, nesterov=True),
            Muon(filters, lr=settings.conv_lr, momentum=settings.conv_momentum),
        ]

    def _set_learning_rates(self) -> None:
        """Fall linearly to zero over the run; the first layer's bias does so over its own few epochs and stays."""
        remaining = 1 - self.steps_done / self.steps
        for optimizer, lrs in zip(self.optimizers, self.base_lrs, strict=True):
            for group, lr in zip(optimizer.param_groups, lrs, strict=True):
                group["lr"] = lr * remaining
        whiten_steps = self.settings.whiten_bias_epochs * self.steps_per_epoch
        whiten_remaining = max(0.0, 1 - self.steps_done / max(1, whiten_steps))
        self.optimizers[0].param_groups[0]["lr"] = self.base_lrs[0][0] * whiten_remaining
        # Without a gradient for it none need be computed for the largest activations of all: 4 % of the time.
        bias = self.network.whiten.bias
        assert bias is not None
        bias.requires_grad_(whiten_remaining > 0)

    def state(self) -> dict[str, Any]:
        return self.hard.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.hard.load_state(state)

    def order(self) -> Tensor:
        order = self.hard.order(self.progressed.epoch, self.progressed.step)
        return super().order() if order is None else order

    def augmented(self, indices: Tensor) -> Tensor:
        """Give the pictures at `indices` as this step shows them: float32, 0 to 255, (len(indices), 3, 32, 32)."""
        epoch, step = self.progressed.epoch, self.progressed.step
        pictures = self.augmenter.batch(indices, epoch=epoch, step=step).float()
        warped = round(self.settings.warped * len(pictures))  # the first of them: their order is random
        if warped:
            generator = generator_for(self.settings.seed, epoch, step, 1)
            pictures[:warped] = _WARP.warp(pictures[:warped], pictures.shape[-1], generator)
        return pictures

    def learn(self, indices: Tensor) -> tuple[float, int]:
        batch = self.augmented(indices).to(self.device)
        labels = self.labels[indices].to(self.device)
        self._set_learning_rates()
        with autocast(self.device):
            logits = self.network(batch.contiguous(memory_format=torch.channels_last)).float()
        # Summed, not averaged: the learning rates of SGD are for each picture, whatever the batch size.
        loss = F.cross_entropy(logits, labels, label_smoothing=self.settings.label_smoothing, reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses = F.cross_entropy(logits.detach(), labels, reduction="none").cpu()
        self.hard.losses[indices] = losses
        return losses.sum().item(), int((logits.argmax(1) == labels).sum())
