"""Train the compact network from nothing; `make train` runs this and then publish.py.

The manifest beside the weights (model/manifest.json) states what a run of the shipped settings took and reached.
Ctrl-C or SIGTERM stops after the current step and the same command resumes there. A run's folder holds

    settings.json    what was resolved and by which code
    progress.json    loss and accuracy of every epoch on training and validation data
    state.pt         everything needed to resume, written at every epoch's end and when stopped
    epochs/N.safetensors    the weights after each epoch, for test curves made afterwards (they steer nothing)
"""

import json
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from model.network import WhitenedConvNet, channels_last
from training.augment import Augmenter, generator_for
from training.data import Cifar10, DataError, Split
from training.muon import Muon
from training.provenance import provenance
from training.settings import Settings

STATE_FORMAT = 1


class ResumeError(Exception):
    """The run's folder holds a run that these settings do not continue."""


@dataclass
class Progressed:
    """How far a run has come; all that a resumed run needs besides weights and optimisers."""

    epoch: int = 0
    step: int = 0  # within the epoch
    seconds: float = 0.0  # of training and validation, over all sittings
    loss_sum: float = 0.0  # over the pictures of this epoch so far, without label smoothing
    correct: int = 0
    epochs: list[dict[str, float]] = field(default_factory=list)


def build(settings: Settings) -> WhitenedConvNet:
    """Make the settings' network, untrained."""
    first, second, third = settings.widths
    network = WhitenedConvNet((first, second, third))
    channels_last(network)
    return network


def tensors(split: Split) -> tuple[Tensor, Tensor]:
    """Give pictures, uint8 (N, 3, 32, 32), and class indices, int64 (N,)."""
    return torch.from_numpy(split.images).permute(0, 3, 1, 2), torch.from_numpy(split.labels).long()


@torch.inference_mode()
def logits_of(network: nn.Module, images: Tensor, batch_size: int = 500) -> Tensor:
    """Run the network over `images` in evaluation mode and bfloat16: float32 logits, shape (N, 10)."""
    network.eval()
    parts = []
    for batch in torch.split(images, batch_size):
        with torch.autocast("cpu", torch.bfloat16):
            parts.append(network(batch.contiguous(memory_format=torch.channels_last)).float())
    return torch.cat(parts)


def loss_and_accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Give mean cross-entropy in nats and the share answered right."""
    logits = logits_of(network, images)
    return F.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()


class Training:
    """One run: network, optimisers, data and how far it has come."""

    def __init__(self, settings: Settings, data: Cifar10) -> None:
        self.settings = settings
        self.images, self.labels = tensors(data.train)
        if settings.limit:
            self.images, self.labels = self.images[: settings.limit], self.labels[: settings.limit]
        if len(self.images) < settings.batch_size:
            raise DataError(f"a batch of {settings.batch_size} needs more than {len(self.images)} training pictures")
        self.validation = tensors(data.validation)
        self.steps_per_epoch = len(self.images) // settings.batch_size  # the rest has its turn in other epochs
        self.progressed = Progressed()

        torch.manual_seed(settings.seed)
        self.network = build(settings)
        self.network.init_whitening(self.images[:5_000])
        self.augmenter = Augmenter(self.images, shift=settings.shift, cutout=settings.cutout, seed=settings.seed)
        self.optimizers = self._optimizers()
        self.base_lrs = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        """Muon for the filters, SGD for everything with one dimension and for the last layer."""
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
        step = self.progressed.epoch * self.steps_per_epoch + self.progressed.step
        remaining = 1 - step / (self.settings.epochs * self.steps_per_epoch)
        for optimizer, lrs in zip(self.optimizers, self.base_lrs, strict=True):
            for group, lr in zip(optimizer.param_groups, lrs, strict=True):
                group["lr"] = lr * remaining
        whiten_steps = self.settings.whiten_bias_epochs * self.steps_per_epoch
        self.optimizers[0].param_groups[0]["lr"] = self.base_lrs[0][0] * max(0.0, 1 - step / max(1, whiten_steps))
        # Without a gradient for it none need be computed for the largest activations of all: 4 % of the time.
        bias = self.network.whiten.bias
        assert bias is not None
        bias.requires_grad_(step < whiten_steps)

    def step(self) -> None:
        """Train on one batch."""
        settings, progressed = self.settings, self.progressed
        if progressed.step == 0:
            progressed.loss_sum, progressed.correct = 0.0, 0
        order = torch.randperm(len(self.images), generator=generator_for(settings.seed, progressed.epoch))
        indices = order[progressed.step * settings.batch_size :][: settings.batch_size]
        batch = self.augmenter.batch(indices, epoch=progressed.epoch, step=progressed.step)
        labels = self.labels[indices]

        self._set_learning_rates()
        self.network.train()
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.network(batch.contiguous(memory_format=torch.channels_last)).float()
        # Summed, not averaged: the learning rates of SGD are for each picture, whatever the batch size.
        loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing, reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]
        self.network.symmetrize_gradients()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()

        progressed.loss_sum += F.cross_entropy(logits.detach(), labels, reduction="sum").item()
        progressed.correct += int((logits.argmax(1) == labels).sum())
        progressed.step += 1

    def finish_epoch(self) -> dict[str, float]:
        """Validate, note the epoch's figures and keep its weights."""
        progressed = self.progressed
        self.network.symmetrize()  # the optimisers keep the halves alike but for rounding
        seen = self.steps_per_epoch * self.settings.batch_size
        validation_loss, validation_accuracy = loss_and_accuracy(self.network, *self.validation)
        figures = {
            "epoch": progressed.epoch + 1,
            "train_loss": progressed.loss_sum / seen,
            "train_accuracy": progressed.correct / seen,
            "validation_loss": validation_loss,
            "validation_accuracy": validation_accuracy,
        }
        progressed.epochs.append(figures)
        progressed.epoch += 1
        progressed.step = 0
        save_weights(self.network, self.settings.run / "epochs" / f"{progressed.epoch:03}.safetensors")
        return figures

    def save(self) -> None:
        """Write what a later sitting needs; a stop in the middle of writing leaves the previous state whole."""
        state = {
            "format": STATE_FORMAT,
            "settings": self.settings.as_json(),
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progressed": vars(self.progressed),
        }
        path = self.settings.run / "state.pt"
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
        write_json(self.settings.run / "progress.json", self.progressed.epochs)

    def resume(self) -> bool:
        """Take up the state in the run's folder; False where there is none.

        Raises:
            ResumeError: it was made with other settings.
        """
        path = self.settings.run / "state.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        wanted = self.settings.as_json()
        if state["format"] != STATE_FORMAT or state["settings"] != wanted:
            changed = [name for name in wanted if state["settings"].get(name) != wanted[name]]
            raise ResumeError(
                f"{self.settings.run} holds a run with other settings ({', '.join(changed) or 'format'}). "
                "Give --run another folder, or delete this one to start anew."
            )
        self.network.load_state_dict(state["network"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.progressed = Progressed(**state["progressed"])
        return True


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the network's weights as safetensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)


def write_json(path: Path, value: object) -> None:
    """Write `value` readably, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".new").write_text(json.dumps(value, indent=2) + "\n")
    path.with_suffix(".new").replace(path)


class StopRequest:
    """Notes SIGINT and SIGTERM so that the current step can end first; a second one stops at once."""

    def __init__(self) -> None:
        self.wanted = False

    def __enter__(self) -> "StopRequest":
        self._previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True


def train(settings: Settings, data: Cifar10, console: Console) -> bool:
    """Train until done or asked to stop; True when done.

    Raises:
        ResumeError: the run's folder holds another run.
        DataError: there are too few pictures.
    """
    training = Training(settings, data)
    resumed = training.resume()
    if not resumed:
        write_json(settings.run / "settings.json", {"settings": settings.as_json(), "made_by": provenance()})
    progressed = training.progressed
    total = settings.epochs * training.steps_per_epoch
    done = progressed.epoch * training.steps_per_epoch + progressed.step
    if resumed and done < total:
        console.print(f"resuming {settings.run} in epoch {progressed.epoch + 1}, step {progressed.step}")
    columns = (
        TextColumn("epoch {task.fields[epoch]}/" + str(settings.epochs)),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with StopRequest() as stop, Progress(*columns, console=console, speed_estimate_period=120) as progress:
        task = progress.add_task(
            "", total=total, completed=done, epoch=min(progressed.epoch + 1, settings.epochs), loss=0
        )
        while progressed.epoch < settings.epochs and not stop.wanted:
            started = time.perf_counter()
            training.step()
            progressed.seconds += time.perf_counter() - started
            loss = progressed.loss_sum / (progressed.step * settings.batch_size)
            progress.update(task, advance=1, epoch=progressed.epoch + 1, loss=loss)
            if progressed.step == training.steps_per_epoch:
                started = time.perf_counter()
                figures = training.finish_epoch()
                progressed.seconds += time.perf_counter() - started
                training.save()
                left = progressed.seconds / progressed.epoch * (settings.epochs - progressed.epoch)
                console.print(
                    f"epoch {figures['epoch']:>3}  train {figures['train_loss']:.4f} {figures['train_accuracy']:.2%}  "
                    f"validation {figures['validation_loss']:.4f} {figures['validation_accuracy']:.2%}  "
                    f"{progressed.seconds / 60:.1f} min, about {left / 60:.0f} left"
                )
        training.save()
    return progressed.epoch >= settings.epochs
