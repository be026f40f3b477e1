"""Whether a picture shows one of the ten at all: a score, and its rank among pictures of the ten of such a size."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from model.labels import NONE_COLUMN

Floats = npt.NDArray[np.floating[Any]]


def scope_score(outputs: Floats) -> Floats:
    """Say how much the network found of any class: higher is more in scope, shape (N,), for (N, 10) or (N, 11).

    It is the log of the sum of the classes' exponentials, the negative energy of Liu et al. 2020 (arXiv:2010.03759),
    and where the network has an output for none of the ten, that less this output: the log odds of any class.
    """
    score: Floats = np.logaddexp.reduce(outputs[:, :NONE_COLUMN], axis=1)
    return score - outputs[:, NONE_COLUMN] if outputs.shape[1] > NONE_COLUMN else score


@dataclass(frozen=True)
class Scope:
    """The scores that pictures of the ten have, by the side of the square that is seen of them, in pixels.

    The fewer pixels a picture has, the more it looks like one of CIFAR-10's, whatever it shows: a score that is common
    among photographs is rare among small pictures of the ten. `quantiles` has a row for each of `sides`, which rise,
    from the least score of such pictures to the highest; for sides between them rows are interpolated.
    """

    threshold: float
    """Share of such pictures that is refused."""
    sides: tuple[int, ...]
    quantiles: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if not self.sides or len(self.quantiles) != len(self.sides) or len({len(row) for row in self.quantiles}) != 1:
            raise ValueError(f"quantiles must have a row for each of the sides {self.sides}, all of one length")

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Scope":
        """Take it from a manifest's `scope`; those of earlier runs have no sides, and one row for pictures of any size.

        Raises:
            KeyError, TypeError, ValueError: it lacks something.
        """
        sides, rows = document.get("sides"), document["quantiles"]
        if sides is None:
            sides, rows = [1], [rows]
        return cls(document["threshold"], tuple(sides), tuple(tuple(map(float, row)) for row in rows))

    @cached_property
    def _table(self) -> Floats:
        return np.array(self.quantiles)

    def ranks(self, outputs: Floats, seen: Sequence[int]) -> Floats:
        """Give the share of pictures of the ten, of each one's size, that score lower, (N,); for calibrated outputs.

        It is a conformal p-value (Bates et al. 2023, arXiv:2104.08279). `seen` has each picture's side in pixels, as
        `model.images.Square` does.
        """
        table = self._table
        levels = np.linspace(0, 1, table.shape[1])
        places = np.interp(seen, self.sides, np.arange(len(self.sides)))
        below = np.floor(places).astype(int)
        above = np.ceil(places).astype(int)
        rows = table[below] + (places - below)[:, None] * (table[above] - table[below])
        scores = scope_score(outputs)
        return np.array([np.interp(score, row, levels) for score, row in zip(scores, rows, strict=True)])

    def refuses(self, outputs: Floats, seen: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Say which pictures show none of the ten, (N,)."""
        refused: npt.NDArray[np.bool_] = self.ranks(outputs, seen) < self.threshold
        return refused
