"""Which parts of a picture spoke for its class."""

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model.classifier import AT_ONCE, Engine, class_logits
from model.images import Pixels

PARTS: Final = 8
"""The picture is explained in so many rows and columns."""
_GREY: Final = 127


class Explainer:
    """Hides one part after the other and looks how much less likely the class gets (occlusion, by Captum).

    Zeiler and Fergus 2013 (arXiv:1311.2901). It needs no gradients, so it explains the very engine that answers.
    """

    method = "occlusion"

    def __init__(self, engine: Engine) -> None:
        # Captum brings matplotlib along: a second and 60 MB that workers who are never asked should not pay.
        from captum.attr import Occlusion  # noqa: PLC0415

        def log_probabilities(pixels: Tensor) -> Tensor:
            outputs = engine.outputs(pixels.numpy().astype(np.uint8))
            return torch.from_numpy(class_logits(outputs)).log_softmax(1)

        self.side = engine.side
        self._occlusion = Occlusion(log_probabilities)

    @torch.inference_mode()
    def strengths(self, pixels: Pixels, class_index: int) -> list[list[float]]:
        """Say how much each part of one picture, pixels of shape (3, side, side), spoke for a class.

        Gives rows of numbers from 0, not at all or against it, to 1, the most of all parts; the parts are equal
        rectangles of the network's input, from the top left.
        """
        part = self.side // PARTS
        losses: Tensor = self._occlusion.attribute(
            torch.from_numpy(pixels)[None].float(),
            sliding_window_shapes=(3, 2 * part, 2 * part),
            strides=(3, part, part),
            baselines=_GREY,
            target=class_index,
            perturbations_per_eval=AT_ONCE,
        )
        strengths = F.avg_pool2d(losses[:, :1], part)[0, 0].clamp(min=0)
        strongest = strengths.max()
        if strongest > 0:
            strengths = strengths / strongest
        rounded: list[list[Any]] = [[round(value, 3) for value in row] for row in strengths.tolist()]
        return rounded
