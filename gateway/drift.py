"""What the served model answered on validation pictures: what its answers of today are compared with."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

LABELS: Final = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Expectation:
    """How the answers would be spread if the pictures were like the validation pictures."""

    label_shares: dict[str, float]
    score: float  # mean of the answers' scores
    confidences: tuple[float, ...]  # mean scores of groups of as many pictures each, rising
    out_of_scope_share: float

    def share_up_to(self, score: float) -> float:
        """Give the share of answers whose score is at most this, by straight lines between the groups' middles."""
        count = len(self.confidences)
        knots = [
            (0.0, 0.0),
            *((each, (index + 0.5) / count) for index, each in enumerate(self.confidences)),
            (1.0, 1.0),
        ]
        for (left, below), (right, above) in pairwise(knots):
            if score < right:
                return below + (above - below) * (score - left) / (right - left)
        return 1.0

    @classmethod
    def of(cls, manifest: dict[str, Any]) -> "Expectation":
        """Take it from the figures in a manifest.

        Raises:
            KeyError: the manifest has none.
        """
        figures = manifest["metrics"]["validation"]
        answered = [sum(column) for column in zip(*figures["confusion"], strict=True)]  # its rows are the true classes
        confidences = tuple(
            confidence for confidence, _ in figures["reliability"]
        )  # of bins with as many pictures each
        return cls(
            label_shares={label: count / sum(answered) for label, count in zip(LABELS, answered, strict=True)},
            score=sum(confidences) / len(confidences),
            confidences=confidences,
            out_of_scope_share=figures["refused"],
        )


def distance(shares: Mapping[str, float], others: Mapping[str, float]) -> float:
    """Give half the sum of all differences (total variation): the share of answers that would have to be others."""
    return 0.5 * sum(abs(shares[label] - others[label]) for label in shares)
