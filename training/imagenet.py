"""What ImageNet's thousand classes (ILSVRC 2012, in their usual order) say about the ten of CIFAR-10.

Nine of the ten are among them; deer are not, and their nearest relatives there, the antelopes, count as ambiguous.
"""

from typing import Final

import torch
from torch import Tensor

from model.labels import LABELS

CLASSES: Final[dict[str, tuple[int, ...]]] = {
    "airplane": (404, 895),  # airliner, warplane
    "automobile": (436, 468, 511, 609, 627, 656, 661, 751, 817),
    "bird": (*range(7, 25), *range(80, 101), *range(127, 147)),
    "cat": tuple(range(281, 286)),
    "deer": (),
    "dog": tuple(range(151, 269)),
    "frog": (30, 31, 32),
    "horse": (339,),  # sorrel
    "ship": (403, 484, 510, 554, 625, 628, 724, 780, 814, 871, 914),
    "truck": (555, 569, 675, 864, 867),
}
"""The ImageNet classes whose pictures show one of the ten."""

ANTELOPES: Final = (351, 352, 353)

AMBIGUOUS: Final = (
    *range(269, 281),  # wolves, wild dogs, hyena, foxes
    *range(286, 294),  # big cats
    340,  # zebra
    *range(345, 351),  # oxen, sheep, ibex
    *ANTELOPES,
    *(405, 407, 408, 466, 472, 475, 479, 547, 565, 573, 575, 576, 581, 586, 603, 612, 654, 657, 665, 670, 694, 705),
    *(717, 734, 744, 757, 779, 803, 812, 820, 829, 833, 847, 856, 866, 874, 908, 913),  # other vehicles, parts of them
)
"""Classes that show something near one of the ten, or part of it: no evidence either way."""


def grouping() -> Tensor:
    """Give the matrix, shape (1000, 12), that sums ImageNet's probabilities to the ten, none of them, and ambiguous."""
    matrix = torch.zeros(1000, len(LABELS) + 2)
    for column, label in enumerate(LABELS):
        matrix[list(CLASSES[label]), column] = 1
    matrix[list(AMBIGUOUS), len(LABELS) + 1] = 1
    matrix[matrix.sum(1) == 0, len(LABELS)] = 1
    return matrix
