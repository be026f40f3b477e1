"""What is measured about a classifier."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from model.classifier import class_logits
from model.labels import LABELS
from model.scope import scope_score

OFFSETS_COST: Final = 0.003
"""In nats; chosen by validation pictures that a fit did not see, and by photographs shrunk to 32 pixels."""


def scope_scores(outputs: Tensor) -> Tensor:
    """Give the scope score that is served of calibrated outputs, shape (N,)."""
    return torch.from_numpy(scope_score(outputs.numpy()))


@dataclass(frozen=True)
class Metrics:
    """Figures for one split, from calibrated logits; shares are 0 to 1, the loss is in nats."""

    pictures: int
    accuracy: float
    macro_f1: float
    loss: float
    calibration_error: float
    reliability: list[tuple[float, float]]  # of bins of equal mass: mean confidence, share answered right
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
            "reliability": [[round(each, 4) for each in pair] for pair in self.reliability],
            "refused": round(self.refused, 4),
            "f1": {label: round(value, 4) for label, value in self.f1.items()},
            "confusion": self.confusion,
        }


def measure(outputs: Tensor, labels: Tensor, *, refused: npt.NDArray[np.bool_]) -> Metrics:
    """Measure calibrated outputs, shape (N, 10) or (N, 11), against class indices, shape (N,).

    `refused` says which pictures were taken for none of the ten, shape (N,).
    """
    logits = class_logits(outputs)
    bins = reliability(logits, labels)
    answers = logits.argmax(1)
    classes = np.arange(len(LABELS))
    f1 = f1_score(labels, answers, labels=classes, average=None, zero_division=0.0)
    return Metrics(
        pictures=len(labels),
        accuracy=(answers == labels).double().mean().item(),
        macro_f1=float(f1.mean()),
        loss=F.cross_entropy(logits, labels).item(),
        calibration_error=calibration_error(bins, len(labels)),
        reliability=[(confidence, right) for _, confidence, right in bins],
        refused=float(refused.mean()),
        f1=dict(zip(LABELS, f1.tolist(), strict=True)),
        confusion=confusion_matrix(labels, answers, labels=classes).tolist(),
    )


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Give how well a score tells pictures inside from outside: the share of pairs in which inside scores higher."""
    scores = torch.cat([inside, outside])
    return float(roc_auc_score([1] * len(inside) + [0] * len(outside), scores))


def reliability(logits: Tensor, labels: Tensor, bins: int = 15) -> list[tuple[int, float, float]]:
    """Sort pictures by confidence into bins of equal mass; give each bin's size, mean confidence and share of right.

    Nixon et al. 2019 (arXiv:1904.01685) say why equal mass rather than equal width.
    """
    confidence, answers = logits.softmax(1).max(1)
    order = confidence.argsort()
    right = (answers == labels).double()[order]
    return [
        (len(part), part.double().mean().item(), right_part.mean().item())
        for part, right_part in zip(confidence[order].tensor_split(bins), right.tensor_split(bins), strict=True)
        if len(part)
    ]


def calibration_error(bins: list[tuple[int, float, float]], pictures: int) -> float:
    """Give the expected calibration error: the mean distance of confidence from accuracy over `reliability`'s bins."""
    return sum(count * abs(right - confidence) for count, confidence, right in bins) / pictures


def fit_calibration(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    """Find the temperature and the classes' offsets of least cross-entropy for logits, shape (N, 10).

    Gives them as a manifest's `calibration`, which `model.calibration` applies. Offsets cost `OFFSETS_COST` times their
    squares' sum, so that few pictures move them little.
    """
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    offsets = torch.zeros(logits.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature, offsets], max_iter=200, line_search_fn="strong_wolfe")
    wide = logits.double()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(wide / log_temperature.exp() + offsets, labels) + OFFSETS_COST * (offsets**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return {
        "temperature": round(log_temperature.exp().item(), 4),
        "offsets": [round(offset, 3) for offset in offsets.tolist()],
    }
