"""What the served model answered on validation pictures: what its answers of today are compared with."""

from dataclasses import dataclass
from typing import Any, Final

LABELS: Final = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Expectation:
    """How the answers would be spread if the pictures were like the validation pictures."""

    label_shares: dict[str, float]
    score: float  # mean of the answers' scores
    out_of_scope_share: float

    @classmethod
    def of(cls, manifest: dict[str, Any]) -> "Expectation":
        """Take it from the figures in a manifest.

        Raises:
            KeyError: the manifest has none.
        """
        figures = manifest["metrics"]["validation"]
        answered = [sum(column) for column in zip(*figures["confusion"], strict=True)]  # its rows are the true classes
        confidences = [confidence for confidence, _ in figures["reliability"]]  # of bins with as many pictures each
        return cls(
            label_shares={label: count / sum(answered) for label, count in zip(LABELS, answered, strict=True)},
            score=sum(confidences) / len(confidences),
            out_of_scope_share=figures["refused"],
        )
