"""Where to write the names of points so that they stay legible: the nearest free place, greedily."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_TURNS = tuple(turn * math.pi / 8 for turn in (0, 8, 4, 12, 2, 14, 6, 10, 1, 15, 7, 9, 3, 13, 5, 11))
_REACH = (7, 12, 18, 26, 36, 48, 62, 78)
_DOT = 6.0


@dataclass(frozen=True)
class Label:
    """A label's box: lower left corner, size, and whether it stands so far off that it needs a line."""

    x: float
    y: float
    width: float
    height: float
    far: bool

    def overlap(self, x: float, y: float, width: float, height: float) -> float:
        """The area shared with another box."""
        wide = min(self.x + self.width, x + width) - max(self.x, x)
        high = min(self.y + self.height, y + height) - max(self.y, y)
        return max(wide, 0.0) * max(high, 0.0)


def place(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    *,
    width: float,
    height: float,
    size: float,
    taken: Sequence[tuple[float, float, float, float]] = (),
) -> list[Label]:
    """A Label for each text, in the order given; all in pixels, the origin at the lower left.

    width, height  the room; labels stay inside where they can
    size           font size
    taken          boxes (x, y, width, height) to keep clear of besides the points

    Cost: labels * (labels + points + boxes) * 128 box tests; meant for some dozens of points.
    """
    closed = [*((x - _DOT, y - _DOT, 2 * _DOT, 2 * _DOT) for x, y in points), *taken]
    chosen: list[Label] = []
    for (x, y), text in zip(points, texts, strict=True):
        wide, high = 0.6 * size * len(text) + 2, 1.15 * size
        best, best_cost = None, math.inf
        for reach in _REACH:
            for turn in _TURNS:
                left = x + reach * math.cos(turn) - wide * (1 - math.cos(turn)) / 2
                low = y + reach * math.sin(turn) - high * (1 - math.sin(turn)) / 2
                label = Label(left, low, wide, high, reach > 20)
                cost = reach + _cost(label, chosen, closed, width, height)
                if cost < best_cost - 1e-6:  # ties go to the earlier place, whatever the rounding
                    best, best_cost = label, cost
        chosen.append(best)
    return chosen


def _cost(label: Label, chosen: list[Label], closed: list[tuple], width: float, height: float) -> float:
    inside = label.overlap(0, 0, width, height)
    cost = 8.0 * (label.width * label.height - inside)
    cost += sum(6.0 * label.overlap(one.x, one.y, one.width, one.height) for one in chosen)
    return cost + sum(4.0 * label.overlap(*box) for box in closed)
