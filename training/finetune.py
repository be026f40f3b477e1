"""The served recipe: EfficientNet-Lite, retrained from ImageNet's weights, then taught by all that came of it so far.

Four things make it more than plain fine-tuning. Pictures grow over the first runs, so most steps are cheap. Photographs
(`--photographs`), which need no labels, are mixed into every batch with an ImageNet network's opinion of them as
target: they keep what the pretrained weights know of sharp pictures and teach the output for none of the ten. The
weights that are kept are a moving average over some hundred steps. And once two networks have been retrained
(`EARLIER_RUNS`), seven more runs each go on with the latest, taught by it and those two; a share of the weights before
stays in what they end with. By the last three of them the three know photographs better than the opinion they learned
from, and are asked of those, too; the last two leave out of it what photographs' folders rule out, where there are any.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import cos, inf, pi
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from model.classifier import class_logits
from model.efficientnet_lite import EfficientNetLite
from model.labels import LABELS, NONE_COLUMN
from model.manifest import MANIFEST_PATH, sha256_of
from model.network import channels_last
from training import photographs
from training.augment import generator_for
from training.data import Cifar10, DataError
from training.depthwise import with_fast_gradients
from training.hard import HardPictures, check, epochs_knob
from training.machine import autocast
from training.pretrained import VARIANTS, pretrained_network
from training.run import Training
from training.settings import Settings, knob
from training.teachers import Teachers, read_network
from training.views import Views

IMAGENET: Final = Path("imagenet")
"""In place of a file of weights: start from those that were trained on ImageNet."""
EARLIER: Final = Path("earlier")
"""In place of files of weights: those of the runs that come before, which are trained first."""
NO_PHOTOGRAPHS: Final = Path("none")
NO_TEACHERS: Final = (Path("none"),)
_BEFORE_THE_LAST: Final[dict[str, Any]] = {
    "photograph_batch": 16,
    "photographs_of_ten": 0.33,
    "corrected_photographs": 0.0,
    "logit_offsets": (0.0,) * len(LABELS),
    "install": "never",
}
_FROM_IMAGENET: Final[dict[str, Any]] = _BEFORE_THE_LAST | {
    "start": IMAGENET,
    "teachers": NO_TEACHERS,
    "sides": (64, 96, 128),
    "side_epochs": (3, 6, 9),
    "epochs": 18,
    "hard_epochs": (4, 10),
    "still_epochs": 3,
    "mixed": 0.2,
    "unmixed_epochs": 4,
    "lr": 5e-4,
    "of_earlier": 0.0,
}
_TAUGHT: Final[dict[str, Any]] = _BEFORE_THE_LAST | {
    "start": EARLIER,
    "teachers": (EARLIER,),
    "variant": 2,
    "unmixed_epochs": 3,
    "taught_photographs": 0.0,
    "of_earlier": 0.25,
    "earlier_weights": (EARLIER,),
}
EARLIER_RUNS: Final[dict[str, dict[str, Any]]] = {
    "lite0": _FROM_IMAGENET | {"variant": 0},
    "lite2": _FROM_IMAGENET | {"variant": 2},
    "taught-128": _TAUGHT
    | {
        "sides": (128,),
        "side_epochs": (11,),
        "epochs": 11,
        "hard_epochs": (3, 7),
        "still_epochs": 4,
        "lr": 4e-4,
    },
    "taught-160": _TAUGHT
    | {
        "sides": (160,),
        "side_epochs": (9,),
        "epochs": 9,
        "hard_epochs": (3, 5),
        "still_epochs": 9,
        "lr": 3e-4,
    },
    "taught-160-again": _TAUGHT
    | {
        "sides": (160,),
        "side_epochs": (5,),
        "epochs": 5,
        "hard_epochs": (2, 3),
        "still_epochs": 5,
        "unmixed_epochs": 2,
        "of_earlier": 0.4,
        "lr": 2e-4,
    },
    "taught-192": _TAUGHT
    | {
        "sides": (192,),
        "side_epochs": (5,),
        "epochs": 5,
        "hard_epochs": (2, 3),
        "still_epochs": 5,
        "unmixed_epochs": 2,
        "photograph_batch": 24,
        "lr": 2e-4,
    },
    "taught-192-again": _TAUGHT
    | {
        "sides": (192,),
        "side_epochs": (4,),
        "epochs": 4,
        "hard_epochs": (2, 2),
        "still_epochs": 4,
        "unmixed_epochs": 2,
        "taught_photographs": 0.75,
        "of_earlier": 0.6,
        "photograph_batch": 24,
        "lr": 3e-4,
    },
    "corrected": _TAUGHT
    | {
        "sides": (192,),
        "side_epochs": (2,),
        "epochs": 2,
        "hard_epochs": (2, 1),
        "still_epochs": 2,
        "unmixed_epochs": 2,
        "taught_photographs": 0.75,
        "corrected_photographs": 1.0,
        "of_earlier": 0.0,
        "photograph_batch": 32,
        "photographs_of_ten": 0.4,
        "lr": 2e-4,
    },
}
"""The runs that come first, by their folders' names, in their order."""


@dataclass(frozen=True)
class FinetuneSettings(Settings):
    """The served recipe's knobs."""

    run: Path = knob(Path("runs/served"), "the run's folder: settings, progress, weights of every epoch", decides=False)
    photographs: Path = knob(
        NO_PHOTOGRAPHS, "folder or zip file of photographs, with or without labels; none trains without", decides=False
    )
    start: Path = knob(
        EARLIER,
        "file of weights to go on with, another run's; earlier trains the earlier runs first, imagenet starts anew",
        decides=False,
    )
    teachers: tuple[Path, ...] = knob(
        (EARLIER,),
        "files of weights whose mean answer is learned too; earlier: those trained apart and the latest; or none",
        decides=False,
    )
    taught: float = knob(0.75, "share of CIFAR-10's targets that is the teachers' answer, if there are any")
    taught_photographs: float = knob(0.75, "share of the photographs' targets that is the teachers' answer")
    corrected_photographs: float = knob(
        1.0, "share of what folders rule out that is taken out of photographs' targets, where they lie as CLASS/NAME"
    )
    taught_side: int = knob(128, "largest side, in pixels, at which the teachers see a view")
    variant: int = knob(2, "EfficientNet-Lite's variant, 0 or 2")
    sides: tuple[int, ...] = knob((192,), "sides of the pictures, in pixels, each for a part of the epochs")
    epochs: int = knob(2, "passes over the 45,000 training pictures")
    side_epochs: tuple[int, ...] = knob((2,), "how many epochs each side has")
    batch_size: int = knob(64, "CIFAR-10 pictures a step")
    photograph_batch: int = knob(32, "photographs a step")
    photographs_of_ten: float = knob(0.4, "share of the photographs that show one of the ten, by drawing them oftener")
    served_side: int = knob(192, "side of the pictures, in pixels, when the network serves", decides=False)
    detail: int = knob(
        128, "side, in pixels, that larger pictures are shrunk to when the network serves", decides=False
    )
    lr: float = knob(1.5e-4, "AdamW's largest learning rate; rises over the first twentieth, falls to 0 as a cosine")
    weight_decay: float = knob(0.02, "AdamW's, of filters and the last layer's weights")
    label_smoothing: float = knob(0.0, "share of CIFAR-10's targets that is spread over the ten classes")
    mixed: float = knob(0.5, "both parameters of the beta distribution by which pictures are mixed; 0: none")
    unmixed_epochs: int = knob(2, "last epochs in which no picture is mixed with another")
    of_earlier: float = knob(0.7, "share of the weights kept at the end that is the mean of earlier ones")
    earlier_weights: tuple[Path, ...] = knob(
        (EARLIER,),
        "files of these earlier weights; earlier: where earlier runs are trained first, those trained apart and the "
        "latest three, else what this one starts and learns from; those of another network are left out",
        decides=False,
    )
    logit_offsets: tuple[float, ...] = knob(
        tuple(0.3 if label == "dog" else 0.0 for label in LABELS),
        "what is added to each of the ten outputs, in CIFAR-10's order, of the weights kept at the end",
    )
    average: float = knob(0.998, "share of the kept weights that each step leaves as they were")
    hard_epochs: tuple[int, ...] = epochs_knob(2, 1)
    still_epochs: int = knob(2, "last epochs in which the first blocks learn no more")
    still_blocks: int = knob(4, "how many these are, with the convolution before them; 4 take a third of the time")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant not in VARIANTS:
            raise ValueError(f"variant must be {' or '.join(map(str, VARIANTS))}, not {self.variant}")
        for name, sides in (
            ("sides", self.sides),
            ("served_side", (self.served_side,)),
            ("taught_side", (self.taught_side,)),
        ):
            if any(side < 32 or side % 32 for side in sides):  # the network halves them five times
                raise ValueError(f"{name} must be in multiples of 32 pixels, not {', '.join(map(str, sides))}")
        if len(self.sides) != len(self.side_epochs) or sum(self.side_epochs) != self.epochs:
            raise ValueError(
                f"side_epochs must have a number for each of the {len(self.sides)} sides and sum to epochs "
                f"({self.epochs}), not {self.side_epochs}"
            )
        named = {self.start} - {EARLIER, IMAGENET}
        if self.teachers not in ((EARLIER,), NO_TEACHERS):
            named.update(self.teachers)
        named |= {*self.earlier_weights} - {EARLIER}
        if missing := sorted(str(path) for path in named if not path.is_file()):
            raise ValueError(f"there is no file {' and no file '.join(missing)} to start from or to learn from")
        check(self.hard_epochs)
        *_, latest = EARLIER_RUNS.values()
        if self.start == EARLIER and self.variant != latest["variant"]:
            raise ValueError(
                f"variant must be {latest['variant']}, that of the run before, not {self.variant}; "
                "--start imagenet or --start FILE begins elsewhere"
            )
        if len(self.logit_offsets) != len(LABELS):
            raise ValueError(
                f"logit_offsets must have a number for each of the {len(LABELS)} classes, not {self.logit_offsets}"
            )
        self.within(0, self.epochs, "unmixed_epochs", "still_epochs")
        self.within(0, 1, "taught", "taught_photographs", "corrected_photographs", "of_earlier")
        self.within(0, 1, "photographs_of_ten", "label_smoothing", "average")
        self.within(0, inf, "lr", "weight_decay", "mixed", "still_blocks")
        self.within(1, inf, "photograph_batch", "detail")

    def earlier(self) -> list["FinetuneSettings"]:
        """Give the runs that this one wants the weights of, in the order in which they are trained.

        Each has a seed of its own: none shows the views that another has shown.
        """
        if EARLIER not in (self.start, *self.teachers):
            return []
        return [
            replace(self, run=self.run / name, seed=self.seed + place, **knobs)
            for place, (name, knobs) in enumerate(EARLIER_RUNS.items(), 1)
        ]

    def after(self, weights: Sequence[Path]) -> "FinetuneSettings":
        """Go on with the last of the earlier runs' weights and learn from it and from those that were trained apart.

        That is as far as earlier runs' are asked for. Weights between teach nothing: they err as the last does. Those
        before the last have a part in what is kept.

        Raises:
            ValueError: there is no such file.
        """
        if not weights:
            return self
        knobs = EARLIER_RUNS.values()
        apart = [path for path, each in zip(weights, knobs, strict=False) if each["start"] == IMAGENET]

        def with_latest(count: int) -> tuple[Path, ...]:
            return tuple(dict.fromkeys([*apart, *weights[-count:]]))

        return replace(
            self,
            start=weights[-1] if self.start == EARLIER else self.start,
            teachers=with_latest(1) if self.teachers == (EARLIER,) else self.teachers,
            earlier_weights=with_latest(3) if self.earlier_weights == (EARLIER,) else self.earlier_weights,
        )

    @property
    def taught_by(self) -> tuple[Path, ...]:
        """The teachers' files."""
        return () if self.teachers == NO_TEACHERS else self.teachers

    @property
    def mixed_in(self) -> tuple[Path, ...]:
        """The files of earlier weights that have a part in what is kept; trained apart, weights have no such mean."""
        if self.start == IMAGENET:
            return ()
        if self.earlier_weights != (EARLIER,):
            return self.earlier_weights
        return tuple(dict.fromkeys([self.start, *self.taught_by]))

    @cached_property
    def _read(self) -> dict[str, Any]:
        """What the files held when they were first asked for: they may be others by the time the run ends."""
        start = sha256_of(self.start) if self.start != IMAGENET else str(IMAGENET)
        return {
            "start": start,
            "teachers": [sha256_of(path) for path in self.taught_by],
            "earlier_weights": [sha256_of(path) for path in self.mixed_in],
        }

    def as_json(self) -> dict[str, Any]:
        return super().as_json() | self._read


class FinetuneTraining(Training):
    """AdamW on CIFAR-10's pictures and photographs together."""

    recipe = "served"
    settings: FinetuneSettings
    network: EfficientNetLite

    def __init__(self, settings: FinetuneSettings, data: Cifar10, console: Console) -> None:
        torch.manual_seed(settings.seed)
        super().__init__(settings, data, self._starting_network(settings))
        self.earlier = self._earlier_weights(settings)
        average = get_ema_multi_avg_fn(settings.average)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True)
        channels_last(self.average)
        if self.device.type == "cpu":
            with_fast_gradients(self.network)
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizers = [torch.optim.AdamW(groups, lr=settings.lr, fused=True)]
        self.views = Views()
        self.hard = HardPictures(len(self.images), settings.hard_epochs, settings.seed)
        self.photographs = None
        if settings.photographs != NO_PHOTOGRAPHS:
            self.photographs = photographs.load(settings.photographs, settings.run, console)
        smoothing = settings.label_smoothing
        self.teachers = Teachers(settings.taught_by, settings.taught_side, self.device) if settings.taught_by else None
        self.targets = torch.full((len(LABELS), NONE_COLUMN + 1), smoothing / len(LABELS))
        self.targets[:, NONE_COLUMN] = 0
        self.targets[range(len(LABELS)), range(len(LABELS))] += 1 - smoothing

    @staticmethod
    def _starting_network(settings: FinetuneSettings) -> EfficientNetLite:
        if settings.start == IMAGENET:
            return pretrained_network(settings.variant, settings.served_side)
        network = read_network(settings.start, settings.served_side)
        if network.variant != settings.variant:
            raise DataError(f"{settings.start} has weights of variant {network.variant}, not of {settings.variant}")
        return network

    def _earlier_weights(self, settings: FinetuneSettings) -> dict[str, Tensor]:
        """Give the mean of the earlier weights that are this network's, read once; nothing where there are none."""
        networks = [read_network(path, settings.served_side).to(self.device) for path in settings.mixed_in]
        states = [network.state_dict() for network in networks if network.variant == self.network.variant]
        if not states:
            return {}
        return {
            name: torch.stack([state[name] for state in states]).mean(0)
            for name, value in states[0].items()
            if value.is_floating_point()
        }

    def decided_by(self) -> dict[str, Any]:
        """Name the photographs by what they are: they may lie anywhere."""
        shown = self.photographs.sha256 if self.photographs else str(NO_PHOTOGRAPHS)
        return super().decided_by() | {"photographs": shown}

    def notes(self) -> dict[str, Any]:
        """List the runs behind this one, each once, by the manifests beside the weights that it was given.

        A run's `sha256` is that of its weights, by which others' settings name it, and `seconds` is its own time. This
        one's is then the time of all together.
        """
        settings, hashes = self.settings, self.settings.as_json()
        paths = [settings.start, *settings.taught_by, *settings.mixed_in]
        given = [hashes["start"], *hashes["teachers"], *hashes["earlier_weights"]]
        before = {
            run["sha256"]: run for path, sha256 in zip(paths, given, strict=True) for run in _runs_behind(path, sha256)
        }
        if not before:
            return {}
        seconds = self.progressed.seconds + sum(run["seconds"] for run in before.values())
        return {"before": list(before.values()), "seconds": round(seconds)}

    def history_before(self) -> list[dict[str, Any]]:
        if self.settings.start == IMAGENET:
            return []
        manifest = _manifest_beside(self.settings.start, self.settings.as_json()["start"])
        return list(manifest.get("history", []))

    def side(self, epoch: int) -> int:
        for side, epochs in zip(self.settings.sides, self.settings.side_epochs, strict=True):
            if epoch < epochs:
                return side
            epoch -= epochs
        return self.settings.sides[-1]

    def validation_side(self, epoch: int) -> int:
        return self.side(epoch)

    @property
    def detail(self) -> int:
        return self.settings.detail

    def kept(self) -> EfficientNetLite:
        averaged = self.average.module
        assert isinstance(averaged, EfficientNetLite)
        return averaged

    def finish_epoch(self) -> dict[str, float]:
        """Mix what came before into what the run ends with: that keeps more of what was known of photographs.

        Wortsman et al. 2022 (arXiv:2109.01903). Then shift the outputs by their offsets (logit adjustment, Menon et al.
        2021, arXiv:2007.07314).
        """
        if self._is_in_last(1):
            kept = self.kept().state_dict()
            for name, value in self.earlier.items():
                kept[name].lerp_(value, self.settings.of_earlier)
            offsets = torch.tensor(self.settings.logit_offsets, device=self.device)
            kept["classifier.bias"][: len(LABELS)] += offsets
        return super().finish_epoch()

    def state(self) -> dict[str, Any]:
        return {"average": self.average.state_dict(), **self.hard.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.average.load_state_dict(state["average"])
        self.hard.load_state(state)

    def order(self) -> Tensor:
        order = self.hard.order(self.progressed.epoch, self.progressed.step)
        return super().order() if order is None else order

    def _learning_rate(self) -> float:
        done = (self.steps_done + 1) / self.steps
        return self.settings.lr * min(done / 0.05, (1 + cos(pi * done)) / 2)

    def _is_in_last(self, epochs: int) -> bool:
        return self.progressed.epoch >= self.settings.epochs - epochs

    def _hold_still(self) -> None:
        """Let the first layers neither learn nor follow the statistics of batches in the last epochs.

        Their pictures are the largest, and there the learning rate is low. With nothing to differentiate they cost
        little (FreezeOut, arXiv:1706.04983).
        """
        if self._is_in_last(self.settings.still_epochs):
            for part in (self.network.stem, *list(self.network.blocks)[: self.settings.still_blocks]):
                part.requires_grad_(False).eval()

    def _photograph_views(self, side: int) -> Views:
        """Show photographs smaller, too, where they have fewer pixels than a view.

        Only so are views as sharp as photographs of any size that the network will be given.
        """
        return replace(self.views, reduced=max(self.views.reduced, side / photographs.SIDE))

    def _mix(self, pixels: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Show through each picture another one of the batch, and mix what is to be answered likewise.

        mixup (arXiv:1710.09412), but for the larger share being the picture's own.
        """
        settings = self.settings
        if not settings.mixed or self._is_in_last(settings.unmixed_epochs):
            return pixels, targets
        seed = int(torch.randint(2**62, (), generator=generator))  # torch draws no beta with a generator of one's own
        drawn = np.random.default_rng(seed).beta(settings.mixed, settings.mixed, len(pixels))
        shares = torch.from_numpy(np.maximum(drawn, 1 - drawn)).float()
        targets = targets.lerp(targets.flip(0), 1 - shares.view(-1, 1))
        return pixels.lerp(pixels.flip(0), 1 - shares.view(-1, 1, 1, 1).to(pixels.device)), targets

    def learn(self, indices: Tensor) -> tuple[float, int]:
        settings, progressed = self.settings, self.progressed
        self._hold_still()
        generator = generator_for(settings.seed, progressed.epoch, progressed.step)
        side = self.side(progressed.epoch)
        labels = self.labels[indices]
        pixels = self.views(self.images[indices].to(self.device), side, generator)
        pixels, targets = self._mix(pixels, self.targets[labels], generator)
        if self.teachers:
            targets = targets.lerp(self.teachers(pixels).cpu(), settings.taught)
        if self.photographs:
            chosen = self.photographs.draw(settings.photograph_batch, settings.photographs_of_ten, generator)
            shown = self.photographs.pixels[chosen].to(self.device)
            # At any sharpness between CIFAR-10's and their own.
            detail = int(torch.randint(32, photographs.SIDE + 1, (), generator=generator))
            shown = F.interpolate(shown.float(), (detail, detail), mode="bilinear", antialias=True)
            shown = self._photograph_views(side)(shown, side, generator)
            answers = self.photographs.targets[chosen]
            if self.teachers and settings.taught_photographs:
                answers = answers.lerp(self.teachers(shown).cpu(), settings.taught_photographs)
            answers = self.photographs.corrected(answers, chosen, settings.corrected_photographs)
            pixels = torch.cat([pixels, shown])
            targets = torch.cat([targets, answers])

        for group in self.optimizers[0].param_groups:
            group["lr"] = self._learning_rate()
        torch.manual_seed(hash((settings.seed, self.steps_done)))  # for dropout
        with autocast(self.device):
            outputs = self.network(pixels.contiguous(memory_format=torch.channels_last)).float()
        loss = F.cross_entropy(outputs, targets.to(self.device))
        self.optimizers[0].zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizers[0].step()
        self.average.update_parameters(self.network)

        logits = class_logits(outputs.detach()[: len(labels)]).cpu()
        losses = F.cross_entropy(logits, labels, reduction="none")
        self.hard.losses[indices] = losses
        return losses.sum().item(), int((logits.argmax(1) == labels).sum())


def _manifest_beside(weights: Path, sha256: str) -> dict[str, Any]:
    """Read the manifest beside weights of a SHA-256; empty if there is none or it is of others."""
    try:
        manifest: dict[str, Any] = json.loads(weights.with_name(MANIFEST_PATH.name).read_text())
    except (OSError, ValueError):
        return {}
    return manifest if manifest.get("sha256") == sha256 else {}


def _runs_behind(weights: Path, sha256: str) -> list[dict[str, Any]]:
    """Give the runs that weights of a SHA-256 came of, their own last, by the manifest beside them; none if not theirs.

    A manifest's `seconds` are those of all its runs together.
    """
    manifest = _manifest_beside(weights, sha256)
    if not manifest:
        return []
    own = dict(manifest["training"])
    before = own.pop("before", [])
    own["seconds"] -= sum(run["seconds"] for run in before)
    return [*before, {"sha256": sha256} | own]
