"""A matplotlib figure as SVG that lives inside a page: its text is text, its colours are the page's.

Colours of the palette below become CSS variables, so one picture serves light and dark. The eight
series colours follow Okabe and Ito (2008), told apart by people with any common colour blindness;
each series has a marker of its own besides. matplotlib is imported when something is drawn: a run that only may draw at
its end trains without it.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from negsieve.report.words import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, SOFT, LINE = "#1b1f24", "#5b6470", "#d8dce2"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#b07d00", "#3f97cf", "#4d4d4d", "#882255")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_NAMES = {INK: "--ink", SOFT: "--soft", LINE: "--line"} | {one: f"--c{n}" for n, one in enumerate(SERIES)}
POINT = 72  # an inch has 72 points, and one point is drawn as one CSS pixel


def new_figure(width: int, height: int) -> Figure:
    """An empty figure of ``width`` by ``height`` CSS pixels, bound to no window and no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / POINT, height / POINT), dpi=POINT, layout="constrained")


def inline(figure: Figure, *, name: str, alt: str) -> Markup:
    """The figure as an ``<svg>`` element with ``alt`` as its spoken text; ids start with ``name``.

    The same figure gives the same bytes on every call.
    """
    import matplotlib

    width, height = (round(side * POINT) for side in figure.get_size_inches())
    buffer = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": name}
    with matplotlib.rc_context(settings), quiet():
        none = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=none)
    text = buffer.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(xlink:href="|url\()#', rf"\1#{name}-", body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    for colour, variable in _NAMES.items():
        body = body.replace(colour, f"var({variable})")
    label = escape(clean(alt))
    return Markup(
        f'<svg viewBox="0 0 {width} {height}" style="max-width: {width}px" role="img" aria-label="{label}">'
        f"<title>{label}</title>{body}</svg>"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Hides matplotlib's complaint about signs that its own font lacks: the browser has them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def shown(text: str, longest: int = 48) -> str:
    """``text`` as a picture may hold it: on one line, without control signs, cut where it is too long."""
    text = " ".join(clean(text).split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def bare_axes(figure: Figure, *, x: str, y: str):
    """Axes with quiet lines: only a baseline and horizontal rules."""
    axes = figure.add_subplot()
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.tick_params(colors=SOFT, labelsize=11, length=0, labelcolor=SOFT)
    axes.tick_params(axis="x", length=3)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(shown(x), color=SOFT, fontsize=11.5, parse_math=False)
    if y:
        axes.set_title(shown(y), color=INK, fontsize=12, loc="left", parse_math=False)
    return axes


def style(place: int) -> dict:
    """Colour, marker and dash of the series at ``place``: 32 of them differ, the first 8 by colour alone."""
    turn = place // len(SERIES)
    return {
        "color": SERIES[place % len(SERIES)],
        "marker": MARKERS[(place + turn) % len(MARKERS)],
        "dash": DASHES[turn % len(DASHES)],
    }
