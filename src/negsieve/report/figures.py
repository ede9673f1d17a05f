"""The pictures of the pages: curves over epochs, and accuracy against false negatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from negsieve.report.labels import Label, place
from negsieve.report.svg import INK, LINE, SERIES, SOFT, bare_axes, inline, new_figure, quiet, shown, style
from negsieve.report.words import missing

_NAME_SIZE = 11


@dataclass(frozen=True)
class Curve:
    """One line: ``points`` are (epoch, value), None or NaN leaving a gap; ``series`` picks its looks."""

    label: str
    points: Sequence[tuple[int, float | None]]
    series: int = 0


@dataclass(frozen=True)
class Spot:
    """One point of the scatter, with its spread (standard deviations, may be None)."""

    label: str
    x: float
    y: float
    x_sd: float | None
    y_sd: float | None
    series: int


def curves(
    lines: Sequence[Curve], *, name: str, title: str, alt: str, best: int | None = None, wide: bool = False
) -> Markup:
    """Lines over epochs. ``best`` marks an epoch by a vertical rule. Drawn at 340 or 520 pixels."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(520 if wide else 340, 280 if wide else 210)
    axes = bare_axes(figure, x="epoch", y=title)
    for line in lines:
        looks = style(line.series)
        x = [epoch for epoch, _ in line.points]
        y = [math.nan if missing(value) else value for _, value in line.points]
        spot = {"marker": looks["marker"], "markersize": 3.6} if len(x) <= 16 or wide else {}
        if spot and len(x) > 16:
            spot["markevery"] = max(1, len(x) // 8)
        axes.plot(x, y, color=looks["color"], linestyle=looks["dash"], linewidth=1.8, **spot)
    if best is not None:
        axes.axvline(best, color=SOFT, linewidth=1, linestyle=(0, (3, 2)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.margins(x=0.03)
    return inline(figure, name=name, alt=alt)


def scatter(
    spots: Sequence[Spot],
    *,
    levels: Sequence[tuple[str, float]],
    name: str,
    x: str,
    y: str,
    alt: str,
    width: int,
    height: int,
) -> Markup:
    """Named points with their spread. ``levels`` are horizontal lines, drawn where they fall inside."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(width, height)
    axes = bare_axes(figure, x=x, y=y)
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    for spot in spots:
        looks = style(spot.series)
        axes.errorbar(
            spot.x,
            spot.y,
            xerr=spot.x_sd,
            yerr=spot.y_sd,
            color=looks["color"],
            marker=looks["marker"],
            markersize=7,
            linewidth=1,
            markeredgewidth=0,
        )
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    low, high = visible_range(spots, levels)
    axes.set_ylim(low, high)
    axes.set_xlim(*axes.get_xlim())
    inside = [(shown(label), level) for label, level in levels if low <= level <= high]
    for label, level in inside:
        axes.axhline(level, color=SOFT, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(
            label,
            (1, level),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            color=SOFT,
            fontsize=_NAME_SIZE,
            parse_math=False,
        ).set_in_layout(False)
    _write_names(figure, axes, spots, inside)
    return inline(figure, name=name, alt=alt)


def visible_range(spots: Sequence[Spot], levels: Sequence[tuple[str, float]]) -> tuple[float, float]:
    """The values that the scatter's height spans: all points, and the levels that do not squeeze them much."""
    values = [spot.y + sign * (spot.y_sd or 0.0) for spot in spots for sign in (-1, 1)]
    low, high = min(values), max(values)
    span = (high - low) or abs(high) or 1.0
    near = [level for _, level in levels if low - 0.6 * span <= level <= high + 0.6 * span]
    low, high = min(low, *near, low), max(high, *near, high)
    margin = 0.14 * ((high - low) or span)
    return low - margin, high + margin


def _write_names(figure, axes, spots: Sequence[Spot], levels: Sequence[tuple[str, float]]) -> None:
    """Writes each point's name where it hides no point, bar, level or other name."""
    with quiet():
        figure.draw_without_rendering()  # settles the layout, so that pixels are known
    figure.set_layout_engine("none")  # the names must not move what they are placed by
    box = axes.get_window_extent()

    def pixel(x: float, y: float) -> tuple[float, float]:
        px, py = axes.transData.transform((x, y))
        return float(px - box.x0), float(py - box.y0)

    points = [pixel(spot.x, spot.y) for spot in spots]
    taken = [_level_box(label, pixel(0, level)[1], box.width) for label, level in levels]
    for spot, (px, py) in zip(spots, points, strict=True):
        wide = abs(pixel(spot.x + (spot.x_sd or 0), spot.y)[0] - px)
        high = abs(pixel(spot.x, spot.y + (spot.y_sd or 0))[1] - py)
        taken += [(px - wide, py - 2, 2 * wide, 4), (px - 2, py - high, 4, 2 * high)]
    texts = [shown(spot.label, 40) for spot in spots]
    labels = place(points, texts, width=box.width, height=box.height, size=_NAME_SIZE, taken=taken)
    for point, text, label in zip(points, texts, labels, strict=True):
        _write_name(axes, point, text, label)


def _level_box(label: str, y: float, width: float) -> tuple[float, float, float, float]:
    wide = 0.6 * _NAME_SIZE * len(label)
    return width - wide, y, wide, 1.4 * _NAME_SIZE


def _write_name(axes, point: tuple[float, float], text: str, label: Label) -> None:
    px, py = point
    middle = label.x + label.width / 2
    side = "center" if abs(middle - px) < label.width / 4 else "left" if middle > px else "right"
    x = {"center": middle, "left": label.x + 1, "right": label.x + label.width - 1}[side]
    if label.far:
        near = (min(max(px, label.x), label.x + label.width), min(max(py, label.y), label.y + label.height))
        looks = {"arrowstyle": "-", "color": SOFT, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}
        axes.annotate("", (px, py), xytext=near, xycoords="axes pixels", textcoords="axes pixels", arrowprops=looks)
    axes.annotate(
        text,
        (x, label.y),
        xycoords="axes pixels",
        color=INK,
        fontsize=_NAME_SIZE,
        ha=side,
        va="bottom",
        annotation_clip=False,
        parse_math=False,
    )


def swatch(series: int | None) -> Markup:
    """The mark of a series for tables and legends: its colour, its dash and its marker."""
    if series is None:
        return Markup(
            '<svg class="swatch" viewBox="0 0 26 12" aria-hidden="true"><path d="M1 6H25" class="ref"/></svg>'
        )
    looks = style(series)
    colour = f"var(--c{SERIES.index(looks['color'])})"
    dash = "" if looks["dash"] == "-" else f' stroke-dasharray="{" ".join(str(one) for one in looks["dash"][1])}"'
    return Markup(
        f'<svg class="swatch" viewBox="0 0 26 12" aria-hidden="true"><path d="M1 6H25" stroke="{colour}" '
        f'stroke-width="2"{dash}/><path d="{_MARKS[looks["marker"]]}" fill="{colour}"/></svg>'
    )


_MARKS = {
    "o": "M13 2a4 4 0 1 1 0 8a4 4 0 1 1 0-8z",
    "s": "M9.5 2.5h7v7h-7z",
    "^": "M13 1.5l4.6 8.5h-9.2z",
    "D": "M13 1l5 5l-5 5l-5-5z",
    "v": "M13 10.5l4.6-8.5h-9.2z",
    "P": "M11.4 1.5h3.2v2.9h2.9v3.2h-2.9v2.9h-3.2v-2.9h-2.9v-3.2h2.9z",
    "X": "M10.2 1.6L13 4.2L15.8 1.6L17.6 3.4L14.9 6L17.6 8.6L15.8 10.4L13 7.8L10.2 10.4L8.4 8.6L11.1 6L8.4 3.4z",
    "p": "M13 1.4l4.6 3.4l-1.8 5.5h-5.6l-1.8-5.5z",
}
