"""What every recipe's run does: train epoch by epoch, validate, keep what is needed to resume and to draw curves.

Ctrl-C or SIGTERM stops after the current step and the same command resumes there. A run's folder holds

    settings.json    what was resolved and by which code
    progress.json    loss and accuracy of every epoch on training and validation data
    state.pt         everything needed to resume, written at every epoch's end and when stopped
    epochs/N.safetensors    the weights after each epoch, for test curves made afterwards (they steer nothing)
"""

import json
import signal
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from model.classifier import class_logits
from model.network import Network, channels_last
from training.augment import generator_for
from training.data import Cifar10, DataError, Split
from training.machine import autocast
from training.provenance import provenance
from training.settings import Settings

STATE_FORMAT = 2


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


class Training(ABC):
    """One run: network, optimisers, data and how far it has come. A recipe says how one step is made."""

    recipe: ClassVar[str]

    def __init__(self, settings: Settings, data: Cifar10, network: Network) -> None:
        self.settings = settings
        self.data = data
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.images, self.labels = tensors(data.train)
        if settings.limit:
            self.images, self.labels = self.images[: settings.limit], self.labels[: settings.limit]
        if len(self.images) < settings.batch_size:
            raise DataError(f"a batch of {settings.batch_size} needs more than {len(self.images)} training pictures")
        self.steps_per_epoch = len(self.images) // settings.batch_size  # the rest has its turn in other epochs
        self.progressed = Progressed()
        self.network = network.to(self.device)
        channels_last(self.network)
        self.optimizers: list[torch.optim.Optimizer] = []

    @abstractmethod
    def learn(self, indices: Tensor) -> tuple[float, int]:
        """Take one step on the pictures at `indices`; give the summed loss without smoothing, and how many were right.

        The learning rate and every random draw may depend on settings and progress alone, so that a resumed run is the
        same run.
        """

    def order(self) -> Tensor:
        """Give the indices of this epoch's pictures in the order of their turns, the same at each of its steps."""
        return torch.randperm(len(self.images), generator=generator_for(self.settings.seed, self.progressed.epoch))

    def side(self, epoch: int) -> int:  # noqa: ARG002
        """Give the side, in pixels, of the pictures that the network sees in an epoch's training."""
        return self.network.side

    def validation_side(self, epoch: int) -> int:  # noqa: ARG002
        """Give the side, in pixels, of the pictures that it is validated with after an epoch."""
        return self.network.side

    @property
    def detail(self) -> int:
        """Side, in pixels, that larger pictures are shrunk to when the result serves."""
        return self.network.side

    def kept(self) -> Network:
        """Give the network whose weights are validated and kept."""
        return self.network

    def state(self) -> dict[str, Any]:
        """Give what the recipe needs to resume besides network, optimisers and progress."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:  # noqa: B027  # most recipes have nothing of the kind
        """Take up what `state` gave."""

    def decided_by(self) -> dict[str, Any]:
        """Give all that decides the weights, as plain values; a run goes on only where it is the same."""
        return self.settings.as_json()

    def notes(self) -> dict[str, Any]:
        """Give what the manifest should say about the run besides its settings."""
        return {}

    def history_before(self) -> list[dict[str, Any]]:
        """Give the figures by epoch of the runs that this one went on from."""
        return []

    @property
    def is_finished(self) -> bool:
        """Say whether nothing is left to train."""
        return self.progressed.epoch >= self.settings.epochs

    @property
    def chosen_epoch(self) -> int:
        """The number of the epoch whose weights are the run's result: the last."""
        return self.progressed.epoch

    @property
    def steps_done(self) -> int:
        """Steps since the run began."""
        return self.progressed.epoch * self.steps_per_epoch + self.progressed.step

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.settings.epochs * self.steps_per_epoch

    def work(self, epoch: int, step: int = 0) -> int:
        """Give the pixels that a picture's channel has had before `step` of `epoch`: the time goes with them."""
        before = sum(self.side(earlier) ** 2 for earlier in range(epoch)) * self.steps_per_epoch
        return before + (self.side(epoch) ** 2 * step if step else 0)

    def step(self) -> None:
        """Train on one batch."""
        settings, progressed = self.settings, self.progressed
        if progressed.step == 0:
            progressed.loss_sum, progressed.correct = 0.0, 0
        indices = self.order()[progressed.step * settings.batch_size :][: settings.batch_size]
        self.network.train()
        loss_sum, correct = self.learn(indices)
        progressed.loss_sum += loss_sum
        progressed.correct += correct
        progressed.step += 1

    def finish_epoch(self) -> dict[str, float]:
        """Validate, note the epoch's figures and keep its weights."""
        progressed = self.progressed
        seen = self.steps_per_epoch * self.settings.batch_size
        validation_loss, validation_accuracy = self.loss_and_accuracy(self.data.validation, progressed.epoch)
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
        save_weights(self.kept(), self.epoch_weights(progressed.epoch))
        return figures

    def loss_and_accuracy(self, split: Split, epoch: int) -> tuple[float, float]:
        """Give mean cross-entropy in nats and the share answered right, at the side that goes with an epoch."""
        images, labels = tensors(split)
        logits = class_logits(outputs_of(self.kept(), images, self.validation_side(epoch)))
        return F.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()

    def epoch_weights(self, number: int) -> Path:
        """Name the file of the weights after so many epochs."""
        return self.settings.run / "epochs" / f"{number:03}.safetensors"

    def save(self) -> None:
        """Write what a later sitting needs; a stop in the middle of writing leaves the previous state whole."""
        state = {
            "format": STATE_FORMAT,
            "recipe": self.recipe,
            "settings": self.decided_by(),
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "recipe_state": self.state(),
            "progressed": vars(self.progressed),
        }
        path = self.settings.run / "state.pt"
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
        write_json(self.settings.run / "progress.json", self.progressed.epochs)

    def resume(self) -> bool:
        """Take up the state in the run's folder; False where there is none.

        Raises:
            ResumeError: it was made with other settings, on other photographs or by another recipe.
        """
        path = self.settings.run / "state.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True, map_location=self.device)
        wanted = self.decided_by()
        if state["format"] != STATE_FORMAT or state["recipe"] != self.recipe or state["settings"] != wanted:
            changed = [name for name in wanted if state["settings"].get(name) != wanted[name]]
            raise ResumeError(
                f"{self.settings.run} holds a run with other settings ({', '.join(changed) or 'format or recipe'}). "
                "Give --run another folder, or delete this one to start anew."
            )
        self.network.load_state_dict(state["network"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.load_state(state["recipe_state"])
        self.progressed = Progressed(**state["progressed"])
        return True


def tensors(split: Split) -> tuple[Tensor, Tensor]:
    """Give pictures, uint8 (N, 3, 32, 32), and class indices, int64 (N,)."""
    return torch.from_numpy(split.images).permute(0, 3, 1, 2), torch.from_numpy(split.labels).long()


def resized(images: Tensor, side: int) -> Tensor:
    """Bring pixels, shape (N, 3, H, W), to `side` as `model.images` does, but for its rounding to whole numbers."""
    if images.shape[-1] == side:
        return images
    return F.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)


@torch.inference_mode()
def outputs_of(network: Network, images: Tensor, side: int, batch_size: int = 250) -> Tensor:
    """Run the network over `images` in evaluation mode: float32 outputs on the CPU, (N, 10) or (N, 11).

    It is given whole numbers, as where it serves: networks see the difference.
    """
    device = next(network.parameters()).device
    network.eval()
    parts = []
    for batch in torch.split(images, batch_size):
        pixels = resized(batch.to(device), side).round().contiguous(memory_format=torch.channels_last)
        with autocast(device):
            parts.append(network(pixels).float().cpu())
    return torch.cat(parts)


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


def train(training: Training, console: Console) -> bool:
    """Train until done or asked to stop; True when done.

    Raises:
        ResumeError: the run's folder holds another run.
    """
    settings = training.settings
    resumed = training.resume()
    if training.is_finished:
        return True
    progressed = training.progressed
    total = training.work(settings.epochs)
    if resumed:
        console.print(f"resuming {settings.run} in epoch {progressed.epoch + 1}, step {progressed.step}")
    else:
        made = {"recipe": training.recipe, "settings": training.decided_by(), "made_by": provenance()}
        write_json(settings.run / "settings.json", made)
    columns = (
        TextColumn("epoch {task.fields[epoch]}/" + str(settings.epochs)),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with StopRequest() as stop, Progress(*columns, console=console, speed_estimate_period=120) as progress:
        done = training.work(progressed.epoch, progressed.step)
        epoch = min(progressed.epoch + 1, settings.epochs)
        task = progress.add_task("", total=total, completed=done, epoch=epoch, loss=0)
        while not training.is_finished and not stop.wanted:
            started = time.perf_counter()
            training.step()
            progressed.seconds += time.perf_counter() - started
            loss = progressed.loss_sum / (progressed.step * settings.batch_size)
            done = training.work(progressed.epoch, progressed.step)
            progress.update(task, completed=done, epoch=progressed.epoch + 1, loss=loss)
            if progressed.step == training.steps_per_epoch:
                started = time.perf_counter()
                figures = training.finish_epoch()
                progressed.seconds += time.perf_counter() - started
                training.save()
                left = progressed.seconds * (total / done - 1)
                console.print(
                    f"epoch {figures['epoch']:>3}  train {figures['train_loss']:.4f} {figures['train_accuracy']:.2%}  "
                    f"validation {figures['validation_loss']:.4f} {figures['validation_accuracy']:.2%}  "
                    f"{progressed.seconds / 60:.1f} min, about {left / 60:.0f} left",
                    soft_wrap=True,  # a line an epoch in files, too
                )
        training.save()
    return training.is_finished
