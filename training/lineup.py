"""Who is compared: the networks that people asked for, what is left out of some, and the recipe of each."""

from dataclasses import dataclass, field
from typing import Any, Final

VARIANTS: Final = {
    "": "",
    "no-augmentation": "without augmentation",
    "no-batch-norm": "without batch norm",
    "no-dropout": "without dropout",
    "from-imagenet": "from ImageNet's weights",
    "from-scratch": "from random weights",
    "own-recipe": "by its own recipe",
}
"""What tells one entry of a network from another, in words."""

START: Final = "start"
"""Stands for the one of `from-imagenet` and `from-scratch` that the run says it was."""


@dataclass(frozen=True)
class Entry:
    """One row of the comparison."""

    name: str  # of its manifest, of its plots' folder and of its run's
    title: str
    variant: str  # one of VARIANTS, or START
    recipe: str
    arguments: tuple[str, ...] = ()
    network: dict[str, Any] = field(default_factory=dict)  # what its manifest must say of it, where arguments do not


def words(title: str, variant: str) -> str:
    """Name a network and what is special about it."""
    return f"{title}, {VARIANTS[variant]}" if variant else title


def _reference(name: str, title: str, variant: str, *arguments: str) -> Entry:
    return Entry(name, title, variant, "reference", arguments)


def _served(name: str, title: str, variant: int) -> Entry:
    """Make an entry of the served recipe: its runs learn from photographs and each other, so its figures are taken."""
    return Entry(name, title, "own-recipe", "served", network={"name": "EfficientNetLite", "variant": variant})


LINEUP: Final = (
    _reference("compact-cnn", "Compact CNN", "", "--network", "CompactCnn"),
    _reference("compact-cnn-plain", "Compact CNN", "no-augmentation", "--network", "CompactCnn", "--no-augment"),
    _reference("compact-cnn-no-norm", "Compact CNN", "no-batch-norm", "--network", "CompactCnn", "--no-batch-norm"),
    _reference("compact-cnn-no-dropout", "Compact CNN", "no-dropout", "--network", "CompactCnn", "--no-dropout"),
    _reference("vgg-style", "VGG-style", "", "--network", "VggStyle"),
    _reference("resnet-20", "ResNet-20", "", "--network", "ResNet"),
    _reference("vgg16", "VGG16", START, "--network", "Vgg16", "--pretrained"),
    _reference("efficientnet-lite-scratch", "EfficientNet-Lite0", START, "--network", "EfficientNetLite"),
    _reference("efficientnet-lite", "EfficientNet-Lite0", START, "--network", "EfficientNetLite", "--pretrained"),
    Entry("whitened-convnet", "Whitened ConvNet", "own-recipe", "compact", network={"name": "WhitenedConvNet"}),
    _served("efficientnet-lite-served", "EfficientNet-Lite0", 0),
    _served("efficientnet-lite2-served", "EfficientNet-Lite2", 2),
)
"""Every network that the comparison has, in the order in which they are trained; the served recipe's are taken."""
