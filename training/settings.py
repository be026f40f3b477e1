"""The knobs of a training run: typed, built from the command line, saved beside the results."""

import argparse
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from math import inf
from pathlib import Path
from typing import Any, TypeVar


def knob(default: Any, help_text: str, *, decides: bool = True) -> Any:
    """Make a field of a settings class; `decides` says whether the weights depend on it."""
    return field(default=default, metadata={"help": help_text, "decides": decides})


@dataclass(frozen=True)
class Settings:
    """What every recipe has; each adds its own and sets its own defaults."""

    data: Path = knob(
        Path("data"), "an .npz file, a folder in Kaggle's layout, or a folder to download into", decides=False
    )
    run: Path = knob(
        Path("runs/unnamed"), "the run's folder: settings, progress, weights of every epoch", decides=False
    )
    epochs: int = knob(1, "passes over the 45,000 training pictures")
    batch_size: int = knob(1, "pictures a step")
    seed: int = knob(1, "seeds the weights, the order of the pictures and the augmentation")
    threads: int = knob(0, "CPU threads; 0 takes every core", decides=False)
    limit: int = knob(0, "train on so many pictures only, to try things out; 0 takes all")
    version: str = knob("1.0", "the weights' version in TorchServe and in answers", decides=False)
    install: str = knob(
        "better", "make the result the served weights: better (on validation data), always or never", decides=False
    )

    def __post_init__(self) -> None:
        if self.install not in ("better", "always", "never"):
            raise ValueError(f"install must be better, always or never, not {self.install!r}")
        self.within(1, inf, "epochs", "batch_size")
        self.within(0, inf, "threads", "limit")

    def within(self, least: float, most: float, *names: str) -> None:
        """Refuse numbers that are not from `least` to `most`.

        Raises:
            ValueError: one of them is not.
        """
        bound = f"{least} or more" if most == inf else f"{least} to {most}"
        for name in names:
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be {bound}, not {getattr(self, name)}")

    def above_zero(self, *names: str) -> None:
        """Refuse numbers that are not above 0.

        Raises:
            ValueError: one of them is not.
        """
        for name in names:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")

    def as_json(self) -> dict[str, Any]:
        """Give what decides the weights, as plain values; folders and the machine's threads are left out."""
        values = asdict(self)
        return {each.name: _plain(values[each.name]) for each in fields(self) if each.metadata["decides"]}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


S = TypeVar("S", bound=Settings)


def parse(kind: type[S], program: str, arguments: list[str]) -> S:
    """Build a recipe's settings from a command line; an unknown or ill-typed one ends the program with a sentence."""
    parser = argparse.ArgumentParser(prog=program, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for each in fields(kind):
        parser.add_argument("--" + each.name.replace("_", "-"), **_argument(each))
    values = vars(parser.parse_args(arguments))
    for each in fields(kind):
        if isinstance(each.default, tuple):
            values[each.name] = tuple(values[each.name])
    try:
        return kind(**values)
    except ValueError as error:
        parser.error(str(error))


def _argument(each: Field[Any]) -> dict[str, Any]:
    assert each.default is not MISSING
    if isinstance(each.default, bool):
        return {
            "action": argparse.BooleanOptionalAction,
            "default": each.default,
            "help": each.metadata["help"],
        }
    many = isinstance(each.default, tuple)
    kind = type(each.default[0]) if many else type(each.default)
    return {
        "type": Path if issubclass(kind, Path) else kind,
        "nargs": "+" if many else None,
        "default": each.default,
        "help": each.metadata["help"],
    }
