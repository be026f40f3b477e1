"""What validation losses say about a run: which epoch was best, when to slow down, when to stop.

Each answer depends on the losses so far alone, so a resumed run gives the same ones without keeping anything else.
"""

from collections.abc import Sequence
from math import inf


def best_epoch(losses: Sequence[float]) -> int:
    """Give the number, from 1, of the first epoch with the least loss; a loss that is no number is never the least."""
    best, least = 1, inf
    for number, loss in enumerate(losses, start=1):
        if loss < least:
            best, least = number, loss
    return best


def is_over(losses: Sequence[float], patience: int) -> bool:
    """Say whether `patience` epochs have passed without a new least loss."""
    return bool(losses) and len(losses) - best_epoch(losses) >= patience


def reductions(losses: Sequence[float], patience: int) -> int:
    """Count how often `patience` epochs in a row had no new least loss, as Keras's ReduceLROnPlateau does."""
    least, waited, count = inf, 0, 0
    for loss in losses:
        if loss < least:
            least, waited = loss, 0
        else:
            waited += 1
        if waited == patience:
            waited, count = 0, count + 1
    return count
