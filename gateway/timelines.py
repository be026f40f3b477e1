"""Small plots for the status page: SVG coordinates of what happened slot by slot."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 600
HEIGHT: Final = 120


@dataclass(frozen=True)
class Line:
    """One quantity by time."""

    name: str
    path: str  # of an SVG path; there is a gap where nothing was measured
    last: float | None


@dataclass(frozen=True)
class Timeline:
    """Lines over one axis that begins at zero, with its ticks as (position, value)."""

    lines: list[Line]
    ticks: list[tuple[float, float]]


def timeline(columns: Mapping[str, Sequence[float | None]], least_top: float) -> Timeline:
    """Lay out columns of equal length, the oldest first; the axis reaches `least_top` at least."""
    top = _round_up(max([least_top, *(value for column in columns.values() for value in column if value is not None)]))

    def height(value: float) -> float:
        return float(round(HEIGHT * (1 - value / top), 1))

    lines = []
    for name, column in columns.items():
        across = WIDTH / max(1, len(column) - 1)
        points = [
            None if value is None else f"{index * across:.1f},{height(value)}" for index, value in enumerate(column)
        ]
        lines.append(Line(name, _path(points), column[-1] if column else None))
    return Timeline(lines, [(height(top * part), top * part) for part in (0, 0.5, 1)])


def _path(points: Sequence[str | None]) -> str:
    """Join neighbours by lines; a lone point becomes a dot, as round caps draw a line of no length."""
    path = ""
    pen_is_down = False
    for index, point in enumerate(points):
        if point is not None:
            alone = not pen_is_down and (index + 1 == len(points) or points[index + 1] is None)
            path += f"L{point}" if pen_is_down else f"M{point}" + (f"L{point}" if alone else "")
        pen_is_down = point is not None
    return path


def _round_up(value: float) -> float:
    """Give the next of 1, 2 and 5 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= value * (1 - 1e-9))
