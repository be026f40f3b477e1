"""Numbers for the Model page's charts: SVG coordinates from the manifest of the served weights."""

from dataclasses import dataclass
from math import ceil, floor
from typing import Any, Final

WIDTH: Final = 600
HEIGHT: Final = 260
SPLITS: Final = ("train", "validation", "test")


@dataclass(frozen=True)
class Line:
    """One split's curve."""

    split: str
    points: str  # of an SVG polyline
    last: float


@dataclass(frozen=True)
class Chart:
    """Curves by epoch with the ticks of their axis, as (position, value)."""

    lines: list[Line]
    ticks: list[tuple[float, float]]
    epochs: int


def curves(manifest: dict[str, Any], what: str) -> Chart:
    """Lay out `loss` or `accuracy` (in percent) by epoch."""
    factor = 100 if what == "accuracy" else 1
    history = manifest.get("history", [])
    columns = {split: [row.get(f"{split}_{what}") for row in history] for split in SPLITS}
    values = {split: [factor * each for each in column] for split, column in columns.items() if None not in column}
    every = [each for column in values.values() for each in column]
    if not every:
        return Chart([], [], 0)
    step = 10 if what == "accuracy" else 0.25
    low, high = floor(min(every) / step) * step, ceil(max(every) / step) * step
    high = max(high, low + step)

    def height(value: float) -> float:
        return float(round(HEIGHT * (high - value) / (high - low), 1))

    across = WIDTH / max(1, len(history) - 1)
    lines = [
        Line(split, " ".join(f"{index * across:.1f},{height(each)}" for index, each in enumerate(column)), column[-1])
        for split, column in values.items()
    ]
    count = round((high - low) / step)
    every_nth = max(1, ceil(count / 6))
    ticks = [(height(low + index * step), low + index * step) for index in range(0, count + 1, every_nth)]
    return Chart(lines, ticks, len(history))


@dataclass(frozen=True)
class Reliability:
    """A calibration curve in a square: its points, and the ticks of both axes as (position, percent)."""

    points: list[tuple[float, float]]
    ticks: list[tuple[float, int]]


def reliability(bins: list[list[float]]) -> Reliability:
    """Lay out mean confidence against the share answered right, both from their least ten percent up."""
    low = floor(10 * min(min(pair) for pair in bins)) * 10
    scale = HEIGHT / (100 - low)
    points = [(round((100 * x - low) * scale, 1), round(HEIGHT - (100 * y - low) * scale, 1)) for x, y in bins]
    step = 10 if low >= 50 else 20
    return Reliability(points, [(round((tick - low) * scale, 1), tick) for tick in range(low, 101, step)])


def shades(matrix: list[list[int]]) -> list[list[int]]:
    """Give each cell of a confusion matrix a shade from 0 to 9: how its mistakes compare with the most frequent one."""
    mistakes = [[0 if row == column else each for column, each in enumerate(cells)] for row, cells in enumerate(matrix)]
    most = max(max(row) for row in mistakes) or 1
    return [[ceil(9 * each / most) for each in row] for row in mistakes]
