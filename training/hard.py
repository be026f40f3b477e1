"""Hard pictures oftener: in some epochs only the half of the pictures with the highest losses has a turn, twice.

Easy pictures teach little while steps are large. Losses are those of a picture's latest turn, so an easy one comes back
once the others have become easier than it was.
"""

import torch
from torch import Tensor

from training.augment import generator_for
from training.settings import knob


def epochs_knob(first: int, last: int) -> tuple[int, ...]:
    """Make the knob of a recipe that has such epochs."""
    chosen: tuple[int, ...] = knob(
        (first, last),
        "first and last epoch in which only the half of the pictures with the highest losses has a turn, twice; "
        "none where the last is before the first",
    )
    return chosen


def check(epochs: tuple[int, ...]) -> None:
    """Refuse a knob's value that cannot be.

    Raises:
        ValueError: it is not two numbers, or the first epoch, which gives the losses, is among them.
    """
    if len(epochs) != 2 or epochs[0] < 2:
        raise ValueError(f"hard_epochs must be two numbers, the first of them 2 or more, not {epochs}")


class HardPictures:
    """The losses of `count` pictures, and which half of them has the turns."""

    def __init__(self, count: int, epochs: tuple[int, ...], seed: int) -> None:
        self.first, self.last = epochs
        self.seed = seed
        self.losses = torch.full((count,), torch.inf)  # of each picture, when it last had a turn
        self.chosen = torch.arange((count + 1) // 2)

    def order(self, epoch: int, step: int) -> Tensor | None:
        """Give an epoch's pictures in the order of their turns, indices (count,); None where all have one each.

        Both counted from 0. They are chosen at the epoch's first step and stay.
        """
        if not self.first <= epoch + 1 <= self.last:
            return None
        if step == 0:
            self.chosen = self.losses.topk(len(self.chosen)).indices
        generator = generator_for(self.seed, epoch)
        return self.chosen[torch.cat([torch.randperm(len(self.chosen), generator=generator) for _ in range(2)])]

    def state(self) -> dict[str, Tensor]:
        """Give what a resumed run needs."""
        return {"losses": self.losses, "hard": self.chosen}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` gave."""
        self.losses, self.chosen = state["losses"].cpu(), state["hard"].cpu()
