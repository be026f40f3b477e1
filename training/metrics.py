"""What is measured about a classifier."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.metrics import confusion_matrix, f1_score
from torch import Tensor
from torch.nn import functional as F

from model.classifier import scope_score
from model.labels import LABELS


@dataclass(frozen=True)
class Metrics:
    """Figures for one split, from calibrated logits; shares are 0 to 1, the loss is in nats."""

    pictures: int
    accuracy: float
    macro_f1: float
    loss: float
    calibration_error: float
    refused: float
    f1: dict[str, float]
    confusion: list[list[int]]  # rows: true class, columns: answer, both in the labels' order

    def as_json(self) -> dict[str, Any]:
        """Give the figures as plain values, rounded to what 10,000 pictures can tell apart."""
        return {
            "pictures": self.pictures,
            "accuracy": round(self.accuracy, 5),
            "macro_f1": round(self.macro_f1, 5),
            "loss": round(self.loss, 4),
            "calibration_error": round(self.calibration_error, 4),
            "refused": round(self.refused, 4),
            "f1": {label: round(value, 4) for label, value in self.f1.items()},
            "confusion": self.confusion,
        }


def measure(logits: Tensor, labels: Tensor, *, scope_floor: float) -> Metrics:
    """Measure calibrated logits, shape (N, 10), against class indices, shape (N,).

    `scope_floor` is the scope score (not the share) below which a picture is refused.
    """
    answers = logits.argmax(1)
    classes = np.arange(len(LABELS))
    f1 = f1_score(labels, answers, labels=classes, average=None, zero_division=0.0)
    return Metrics(
        pictures=len(labels),
        accuracy=(answers == labels).double().mean().item(),
        macro_f1=float(f1.mean()),
        loss=F.cross_entropy(logits, labels).item(),
        calibration_error=calibration_error(logits, labels),
        refused=(scope_score(logits) < scope_floor).double().mean().item(),
        f1=dict(zip(LABELS, f1.tolist(), strict=True)),
        confusion=confusion_matrix(labels, answers, labels=classes).tolist(),
    )


def calibration_error(logits: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Give the expected calibration error over bins of equal mass: mean distance of confidence from accuracy.

    Nixon et al. 2019 (arXiv:1904.01685) say why equal mass rather than equal width.
    """
    confidence, answers = logits.softmax(1).max(1)
    order = confidence.argsort()
    right = (answers == labels).double()[order]
    distances = [
        len(part) * abs(right_part.mean().item() - part.double().mean().item())
        for part, right_part in zip(confidence[order].tensor_split(bins), right.tensor_split(bins), strict=True)
        if len(part)
    ]
    return sum(distances) / len(labels)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Find the temperature of least cross-entropy for logits, shape (N, 10) (Guo et al. 2017, arXiv:1706.04599)."""
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")
    wide = logits.double()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(wide / log_temperature.exp(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return round(log_temperature.exp().item(), 4)
