"""Numbers as a person reads them: aligned, with a true minus sign, and never a bare NaN."""

from __future__ import annotations

import math
import unicodedata

ABSENT = "–"
LEVEL = 0.05
_KEPT = "\n\t\u200c\u200d"  # the joiners that scripts and emoji need

MEANING = {
    "loss": "mean training loss of the epoch, without the L2 penalty",
    "penalty": "mean L2 penalty of the epoch",
    "false_negative_rate": (
        "share of the chosen negatives that the user took in the held-out part after all, "
        "read for measuring only, never for choosing"
    ),
    "hardness": "mean percentile of the chosen negatives among all of the user's items by score; 100 is the hardest",
    "dead_rows": "share of training rows whose gradient is below 0.05: they have little left to teach",
    "coverage": "share of all items that were drawn as a negative at least once in the epoch",
    "popularity": "mean popularity of the chosen negatives",
}


def started(result: dict) -> str | None:
    """``target: runs/a, source: runs/b``: the runs that a run started from; None where it began with its own values."""
    told = result.get("started_from") or {}
    return ", ".join(one["run"] if part == "model" else f"{part}: {one['run']}" for part, one in told.items()) or None


def missing(value) -> bool:
    """Whether there is no number to show: None, a bool, text, NaN or infinity."""
    return isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)


def number(value, digits: int = 4) -> str:
    """``0.0831``, ``−0.0042``, ``12,340``; a dash where nothing was measured."""
    if missing(value):
        return ABSENT
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"
    if text.startswith("-") and not text.strip("-0.,"):
        text = text[1:]
    return text.replace("-", "−")


def signed(value, digits: int = 4) -> str:
    """As ``number``, with a plus sign before gains."""
    text = number(value, digits)
    return text if missing(value) or text.startswith("−") or not text.strip("0.,") else f"+{text}"


def share(value, digits: int = 2) -> str:
    """A fraction as a percentage: ``1.25 %``."""
    return ABSENT if missing(value) else f"{number(100.0 * value, digits)} %"


def probability(value) -> str:
    """A p value: ``< 0.001``, ``0.032``."""
    if missing(value):
        return ABSENT
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def equals(value) -> str:
    """A p value inside a sentence: ``p < 0.001`` or ``p = 0.032``."""
    text = probability(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def duration(value) -> str:
    """Seconds as ``0.42 s``, ``38 s``, ``3 min 05 s`` or ``2 h 10 min``."""
    if missing(value):
        return ABSENT
    if value < 10:
        return f"{value:.2f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def clean(text: str) -> str:
    """``text`` without signs that do not print or that turn the reading direction; each becomes U+FFFD."""
    return "".join(
        sign if sign in _KEPT or unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Co") else "\ufffd"
        for sign in text
    )


def rows(value, prefix: str = "", *, exact: bool = False) -> list[tuple[str, str]]:
    """A nested mapping as ``(dotted name, text)`` pairs, in its own order; long lists are cut and counted.

    exact  True for settings: numbers as a file would spell them. False for counts: ``250,312``.
    """
    if isinstance(value, dict):
        inner = ((f"{prefix}.{name}" if prefix else str(name), one) for name, one in value.items())
        found = [pair for name, one in inner for pair in rows(one, name, exact=exact)]
        return found or ([(prefix, "none")] if prefix else [])
    return [(prefix, _text(value, exact))]


def _text(value, exact: bool) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        shown = ", ".join(_text(one, exact) for one in value[:20])
        return shown + (f", ... {len(value)} in all" if len(value) > 20 else "")
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(one, exact)}" for name, one in value.items())
    if exact or isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return f"{value:,.6g}".replace("-", "−")
    return number(value)


def sentence(text: str) -> str:
    """``text`` with a capital first letter and a full stop."""
    return f"{text[0].upper()}{text[1:]}." if text else ""


def listed(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else ""


def plural(count: int, word: str) -> str:
    """``1 run``, ``3 runs``."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
