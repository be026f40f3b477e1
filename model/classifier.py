"""From the network's input to the answer that people and programs read."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.images import Pixels, read_pixels
from model.labels import LABELS
from model.manifest import Manifest
from model.network import NONE_COLUMN, Network


def class_logits(outputs: Tensor) -> Tensor:
    """Give the ten classes' part of a network's outputs, shape (N, 10)."""
    return outputs[:, :NONE_COLUMN]


def scope_score(outputs: Tensor) -> Tensor:
    """Say how much the network found of any class: higher is more in scope, shape (N,).

    It is the log of the sum of the classes' exponentials, the negative energy of Liu et al. 2020 (arXiv:2010.03759),
    and where the network has an output for none of the ten, that less this output: the log odds of any class.
    """
    score = class_logits(outputs).logsumexp(1)
    return score - outputs[:, NONE_COLUMN] if outputs.shape[1] > NONE_COLUMN else score


class Classifier:
    """A network with its calibration.

    Scores are probabilities at the manifest's temperature, fitted on validation data. `in_scope_score` is the share of
    validation pictures that look less like one of the ten than this picture does, a conformal p-value (Bates et al.
    2023, arXiv:2104.08279): a threshold of this value would refuse about that share of pictures of the ten classes.
    """

    def __init__(self, network: Network, manifest: Manifest) -> None:
        self.network = network
        self.manifest = manifest
        self.levels = np.linspace(0, 1, len(manifest.scope_quantiles))

    def read(self, image_bytes: bytes | bytearray) -> Pixels:
        """Decode one picture into the network's input, uint8, shape (3, side, side).

        Raises:
            ImageError: the picture cannot be read; `model.images` has its kinds.
        """
        return read_pixels(image_bytes, self.network.side, self.manifest.detail)

    @torch.inference_mode()
    def outputs(self, pixels: Pixels) -> Tensor:
        """Run the network on pixels of 0 to 255, shape (N, 3, side, side); calibrated outputs, (N, 10) or (N, 11)."""
        batch = torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last)
        outputs: Tensor = self.network(batch)
        return outputs.float() / self.manifest.temperature

    def answers(self, outputs: Tensor) -> list[dict[str, Any]]:
        """Turn calibrated outputs into one answer each, classes falling by score."""
        probabilities = class_logits(outputs).softmax(1)
        order = probabilities.argsort(dim=1, descending=True).tolist()
        in_scope = np.interp(scope_score(outputs).numpy(), self.manifest.scope_quantiles, self.levels).tolist()
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
            "in_scope": in_scope_score >= self.manifest.scope_threshold,
            "in_scope_score": round(in_scope_score, 4),
            "scores": scores,
        }
