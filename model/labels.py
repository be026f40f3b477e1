"""CIFAR-10's ten classes."""

from typing import Final

LABELS: Final = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
"""Class names by class index, in the data set's own order (Krizhevsky 2009)."""

NONE_COLUMN: Final = len(LABELS)
"""Index of the output that stands for none of the ten, in a network that has one."""
