"""From a network's outputs to ones whose softmax says how sure an answer is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from model.labels import LABELS, NONE_COLUMN

SMALL: Final = 32
"""Up to so many pixels a side the offsets count wholly: CIFAR-10's pictures, on which they are fitted."""
LARGE: Final = 48
"""From so many pixels a side on they count for nothing, and between for less and less."""


@dataclass(frozen=True)
class Calibration:
    """A temperature, and what is added to each class's output for small pictures.

    Bias-corrected temperature scaling (Alexandari et al. 2020, arXiv:1901.06852). Sharp photographs and small pictures
    err between the same classes to different sides: what the weights balance for the former is put right here for the
    latter.
    """

    temperature: float
    offsets: tuple[float, ...] = (0.0,) * len(LABELS)

    def __post_init__(self) -> None:
        if len(self.offsets) != len(LABELS):
            raise ValueError(f"offsets must have a number for each of the {len(LABELS)} classes, not {self.offsets}")

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Calibration":
        """Take it from a manifest's `calibration`; those of earlier runs have no offsets.

        Raises:
            KeyError, TypeError, ValueError: it lacks something.
        """
        return cls(document["temperature"], tuple(document.get("offsets", cls.offsets)))

    def applied(self, outputs: npt.NDArray[np.float32], seen: Sequence[int]) -> npt.NDArray[np.float32]:
        """Calibrate a network's outputs, shape (N, 10) or (N, 11).

        `seen` has each picture's side in pixels, as `model.images.Square` does.
        """
        calibrated = outputs / np.float32(self.temperature)
        shares = np.interp(seen, (SMALL, LARGE), (1, 0)).astype(np.float32)
        calibrated[:, :NONE_COLUMN] += shares[:, None] * np.array(self.offsets, np.float32)
        return calibrated
