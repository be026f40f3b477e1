"""Numbers for the Model page's charts: SVG coordinates from the served weights' manifest and from the comparison."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from math import ceil, floor, log10
from pathlib import Path
from typing import Any, Final

WIDTH: Final = 600
HEIGHT: Final = 260
SPLITS: Final = ("train", "validation", "test")
COMPARISON: Final = Path(__file__).parent / "comparison.json"
"""Figures of the networks that were compared; `make compare` writes it."""


@dataclass(frozen=True)
class Line:
    """One split's curve, in a piece for each run."""

    split: str
    pieces: list[str]  # points of SVG polylines
    last: float


@dataclass(frozen=True)
class Chart:
    """Curves by epoch with the ticks of their axis, as (position, value), and the positions where other runs begin."""

    lines: list[Line]
    ticks: list[tuple[float, float]]
    epochs: int
    runs: list[float]


def curves(manifest: dict[str, Any], what: str) -> Chart:
    """Lay out `loss` or `accuracy` (in percent) by epoch, through all runs that the weights were trained in.

    Loss and mistakes are on a logarithmic scale whose ends are ticks.
    """
    history = manifest.get("history", [])
    splits = [split for split in SPLITS if history and all(f"{split}_{what}" in row for row in history)]
    if not splits:
        return Chart([], [], 0, [])

    def shown(value: float) -> float:
        return max(100 * (1 - value) if what == "accuracy" else value, 0.01)

    every = [shown(row[f"{split}_{what}"]) for split in splits for row in history]
    ticks = _round_ticks(min(every), max(every))
    least, most = log10(ticks[0]), log10(ticks[-1])
    runs = [list(rows) for _, rows in groupby(history, lambda row: row.get("run", 1))]
    last = history[-1]
    across = WIDTH / max(1, last["epoch"] - 1)

    def height(value: float) -> float:
        share = (log10(value) - least) / (most - least)
        return round(HEIGHT * (share if what == "accuracy" else 1 - share), 1)

    def piece(rows: list[dict[str, Any]], split: str) -> str:
        points = [(across * (row["epoch"] - 1), height(shown(row[f"{split}_{what}"]))) for row in rows]
        return " ".join(f"{x:.1f},{y}" for x, y in points)

    factor = 100 if what == "accuracy" else 1
    lines = [Line(split, [piece(rows, split) for rows in runs], factor * last[f"{split}_{what}"]) for split in splits]
    values = [(height(tick), 100 - tick if what == "accuracy" else tick) for tick in ticks]
    return Chart(lines, values, last["epoch"], [round(across * (rows[0]["epoch"] - 1.5), 1) for rows in runs[1:]])


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


@dataclass(frozen=True)
class Corrupted:
    """One corruption's row: the share named right by severity, a shade from 0 to 9 of each, and their mean."""

    name: str
    cells: list[tuple[float, int]]
    mean: float


def robustness(by_corruption: dict[str, list[float]]) -> list[Corrupted]:
    """Lay out accuracy by corruption and severity, shaded by how the mistakes compare with the most there are."""
    most = max(1 - share for shares in by_corruption.values() for share in shares) or 1
    return [
        Corrupted(name, [(share, ceil(9 * (1 - share) / most)) for share in shares], sum(shares) / len(shares))
        for name, shares in by_corruption.items()
    ]


@cache
def compared() -> list[dict[str, Any]]:
    """Give the networks that were compared, the most accurate first."""
    networks: list[dict[str, Any]] = json.loads(COMPARISON.read_text())["networks"]
    return networks


NUMBER_SIZE: Final = (34.0, 24.0)
"""Width and height of a number of two digits, as large as on a phone."""
Place = tuple[float, float, str]
"""Where a number stands: SVG's x, y and text-anchor."""


@dataclass(frozen=True)
class Scatter:
    """Networks as points, in their own order, with places for their numbers, and the axes' ticks: (position, value)."""

    points: list[tuple[float, float]]
    numbers: list[Place]
    across: list[tuple[float, float]]
    up: list[tuple[float, float]]


def _numbers(points: Sequence[tuple[float, float]]) -> list[Place]:
    """Find a place beside each point, right or left, above or below, that no other point's number has."""
    placed: list[Place] = []
    for x, y in points:
        places = [
            (round(x + right, 1), round(y + down, 1), anchor)
            for down in (-4, 20, -28, 44)
            for right, anchor in ((7, "start"), (-7, "end"))
        ]
        free = [place for place in places if not any(_overlap(place, other) for other in placed)]
        placed.append((free or places)[0])
    return placed


def _overlap(one: Place, other: Place) -> bool:
    return abs(_left(one) - _left(other)) < NUMBER_SIZE[0] and abs(one[1] - other[1]) < NUMBER_SIZE[1]


def _left(place: Place) -> float:
    return place[0] - (NUMBER_SIZE[0] if place[2] == "end" else 0)


def _round_ticks(low: float, high: float) -> list[float]:
    """Give 1, 2 and 5 times powers of ten from the last below `low` to the first above `high`."""
    powers = range(floor(log10(low)) - 1, ceil(log10(high)) + 2)
    every = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    first, last = max(tick for tick in every if tick < low), min(tick for tick in every if tick > high)
    return [tick for tick in every if first <= tick <= last]


def accuracy_against_time(networks: Sequence[dict[str, Any]]) -> Scatter:
    """Lay out accuracy in percent against milliseconds a picture, on a logarithmic scale whose ends are ticks."""
    times = [each["milliseconds"] for each in networks]
    ticks = _round_ticks(min(times), max(times))
    first, last = log10(ticks[0]), log10(ticks[-1])
    accuracies = [100 * each["accuracy"] for each in networks]
    low, high = floor(min(accuracies) / 5) * 5, max(ceil(max(accuracies) / 5) * 5, floor(min(accuracies) / 5) * 5 + 5)

    def right(time: float) -> float:
        return round(WIDTH * (log10(time) - first) / (last - first), 1)

    def height(accuracy: float) -> float:
        return float(round(HEIGHT * (high - accuracy) / (high - low), 1))

    step = 5 * max(1, ceil((high - low) / 30))
    points = [(right(x), height(y)) for x, y in zip(times, accuracies, strict=True)]
    return Scatter(
        points=points,
        numbers=_numbers(points),
        across=[(right(tick), tick) for tick in ticks],
        up=[(height(value), value) for value in range(low, high + 1, step)],
    )
