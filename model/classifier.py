"""From the network's input to the answer that people and programs read."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.images import Pixels
from model.labels import LABELS
from model.manifest import Manifest
from model.network import WhitenedConvNet


def scope_score(logits: Tensor) -> Tensor:
    """Say how much the network found of any class: higher is more in scope, shape (N,) for logits of shape (N, 10).

    It is the log of the sum of exponentials, the negative energy of Liu et al. 2020 (arXiv:2010.03759).
    """
    return logits.logsumexp(1)


class Classifier:
    """A network with its calibration.

    Scores are probabilities at the manifest's temperature, fitted on validation data. `in_scope_score` is the share of
    validation pictures that look less like one of the ten than this picture does, a conformal p-value (Bates et al.
    2023, arXiv:2104.08279): a threshold of this value would refuse about that share of pictures of the ten classes.
    """

    def __init__(self, network: WhitenedConvNet, manifest: Manifest) -> None:
        self.network = network
        self.manifest = manifest
        self.levels = np.linspace(0, 1, len(manifest.scope_quantiles))

    @torch.inference_mode()
    def logits(self, pixels: Pixels) -> Tensor:
        """Run the network on pixels of 0 to 255, shape (N, 3, 32, 32); calibrated float32 logits, shape (N, 10)."""
        batch = torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.network(batch)
        return logits.float() / self.manifest.temperature

    def answers(self, logits: Tensor) -> list[dict[str, Any]]:
        """Turn calibrated logits, shape (N, 10), into one answer each, classes falling by score."""
        probabilities = logits.softmax(1)
        order = probabilities.argsort(dim=1, descending=True).tolist()
        in_scope = np.interp(scope_score(logits).numpy(), self.manifest.scope_quantiles, self.levels).tolist()
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
