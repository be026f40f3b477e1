"""The knobs of a training run: one typed object, built from the command line, saved beside the results."""

import argparse
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any


def _knob(default: Any, help_text: str) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True)
class Settings:
    """Everything that decides the weights, and where things lie."""

    data: Path = _knob(Path("data"), "an .npz file, a folder in Kaggle's layout, or a folder to download into")
    run: Path = _knob(Path("runs/compact"), "the run's folder: settings, progress, weights of every epoch")
    epochs: int = _knob(15, "passes over the 45,000 training pictures")
    batch_size: int = _knob(500, "pictures a step; 500 also trains faster on two cores than 1,000 (caches)")
    widths: tuple[int, ...] = _knob((64, 384, 384), "channels of the three blocks")
    conv_lr: float = _knob(0.12, "size of Muon's steps relative to the weights, falling linearly to 0")
    conv_momentum: float = _knob(0.6, "Muon's momentum")
    bias_lr: float = _knob(0.053, "of the batch norms' and the first layer's biases, for a loss summed over the batch")
    head_lr: float = _knob(0.67, "of the last layer, likewise")
    momentum: float = _knob(0.85, "Nesterov momentum of biases and last layer")
    weight_decay: float = _knob(2e-6, "of biases and last layer, a picture")
    label_smoothing: float = _knob(0.2, "share of the target that is spread over all classes")
    whiten_bias_epochs: int = _knob(3, "epochs after which the first layer's bias stands still")
    shift: int = _knob(4, "largest random shift, in pixels")
    cutout: int = _knob(8, "side of the square that is blotted out of each picture, in pixels")
    seed: int = _knob(1, "seeds the weights, the order of the pictures and the augmentation")
    threads: int = _knob(0, "CPU threads; 0 takes every core")
    limit: int = _knob(0, "train on so many pictures only, to try things out; 0 takes all")
    version: str = _knob("1.0", "the weights' version in TorchServe and in answers; not part of what decides them")
    install: str = _knob("better", "make the result the served weights: better (on validation data), always or never")

    def __post_init__(self) -> None:
        if self.install not in ("better", "always", "never"):
            raise ValueError(f"install must be better, always or never, not {self.install!r}")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if len(self.widths) != 3 or min(self.widths) < 1:
            raise ValueError(f"widths must be three positive numbers, not {self.widths}")

    def as_json(self) -> dict[str, Any]:
        """Give what decides the weights, as plain values; folders and the machine's threads are left out."""
        values = asdict(self)
        for name in ("data", "run", "threads", "version", "install"):
            del values[name]
        return values | {"widths": list(self.widths)}


def parse(arguments: list[str] | None = None) -> Settings:
    """Build the settings from a command line; an unknown or ill-typed one ends the program with a sentence."""
    parser = argparse.ArgumentParser(prog="python -m training", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for knob in fields(Settings):
        assert knob.default is not MISSING
        is_tuple = isinstance(knob.default, tuple)
        parser.add_argument(
            "--" + knob.name.replace("_", "-"),
            type=int if is_tuple else type(knob.default) if not isinstance(knob.default, Path) else Path,
            nargs="+" if is_tuple else None,
            default=knob.default,
            help=knob.metadata["help"],
        )
    values = vars(parser.parse_args(arguments))
    values["widths"] = tuple(values["widths"])
    try:
        return Settings(**values)
    except ValueError as error:
        parser.error(str(error))
