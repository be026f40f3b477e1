"""From a picture to the answer that people and programs read; torch is not needed for it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from model.images import Pixels, Square, read_square
from model.labels import LABELS, NONE_COLUMN
from model.manifest import Manifest

if TYPE_CHECKING:
    from torch import Tensor

AT_ONCE: Final = 8
"""Pictures that an engine should get together: with more it keeps more memory for good and takes longer for each."""

Outputs = npt.NDArray[np.float32]
AnyOutputs = TypeVar("AnyOutputs", Outputs, "Tensor")


class Engine(Protocol):
    """Computes a network's outputs; handler/engine.py has the kinds there are."""

    name: str
    """Library, version and precision."""
    side: int
    """Height and width of the input, in pixels."""

    def outputs(self, pixels: Pixels) -> Outputs:
        """Give the outputs, float32, shape (N, 10) or (N, 11), for pixels of 0 to 255, shape (N, 3, side, side)."""


def class_logits(outputs: AnyOutputs) -> AnyOutputs:
    """Give the ten classes' part of a network's outputs, shape (N, 10)."""
    return outputs[:, :NONE_COLUMN]


class Classifier:
    """A network's engine with its calibration.

    Scores are probabilities by the manifest's calibration, fitted on validation data. `in_scope_score` is the share of
    pictures of the ten, of this one's size, that look less like one of the ten than it does: a threshold of this value
    would refuse about that share of such pictures. They are validation pictures and, where a manifest's scope names
    them, photographs.
    """

    def __init__(self, engine: Engine, manifest: Manifest) -> None:
        self.engine = engine
        self.manifest = manifest

    def read(self, image_bytes: bytes | bytearray) -> Square:
        """Decode one picture into the network's input.

        Raises:
            ImageError: the picture cannot be read; `model.images` has its kinds.
        """
        return read_square(image_bytes, self.engine.side, self.manifest.detail)

    def outputs(self, pictures: Sequence[Square]) -> Outputs:
        """Run the network on pictures together; calibrated outputs, (N, 10) or (N, 11)."""
        outputs = self.engine.outputs(np.stack([picture.pixels for picture in pictures]))
        return self.manifest.calibration.applied(outputs, [picture.seen for picture in pictures])

    def classify(self, pictures: Sequence[Square]) -> list[dict[str, Any]]:
        """Answer pictures together, each with its classes falling by score."""
        return self.answers(self.outputs(pictures), [picture.seen for picture in pictures])

    def answers(self, outputs: Outputs, seen: Sequence[int]) -> list[dict[str, Any]]:
        """Turn calibrated outputs of pictures, and how much was seen of each, into one answer each."""
        logits = class_logits(outputs)
        probabilities = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
        order = np.argsort(-probabilities, axis=1).tolist()
        in_scope = self.manifest.scope.ranks(outputs, seen).tolist()
        return [
            self._answer(probabilities_row, order_row, in_scope_score)
            for probabilities_row, order_row, in_scope_score in zip(
                probabilities.tolist(), order, in_scope, strict=True
            )
        ]

    def _answer(self, probabilities: list[float], order: list[int], in_scope_score: float) -> dict[str, Any]:
        scores = [{"label": LABELS[index], "score": round(probabilities[index], 6)} for index in order]
        return {
            "filename": None,  # known only to whoever took the file in
            "label": scores[0]["label"],
            "score": scores[0]["score"],
            "in_scope": in_scope_score >= self.manifest.scope.threshold,
            "in_scope_score": round(in_scope_score, 4),
            "scores": scores,
        }
