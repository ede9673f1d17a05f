"""Metrics as a table for people: a row a metric, a column a part of the data."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from negsieve.cli import screen
from negsieve.report import words

_GROUPS = {"warm": "warm", "cold_users": "cold users", "cold_items": "cold items", "no_source": "no source"}


def metrics_table(metrics: dict[str, dict[str, float]], groups: dict[str, dict[str, dict]], *, chosen: str) -> Table:
    """Metrics by part; the last part's groups beside it where there are others than warm.

    chosen  the metric that the best epoch was chosen by, shown bold
    """
    columns: list[tuple[str, dict[str, Any]]] = list(metrics.items())
    last = next(reversed(metrics), None)
    inner = groups.get(last, {}) if last else {}
    if any(inner.get(name, {}).get("users") for name in _GROUPS if name != "warm"):
        columns += [
            (f"{last}\n{text}", inner[name]) for name, text in _GROUPS.items() if inner.get(name, {}).get("users")
        ]
    made = screen.table("", *(name for name, _ in columns))
    counted = ["users", "pairs"] if len(columns) > len(metrics) else []
    for name in counted:
        made.add_row(name, *("" if one.get(name) is None else f"{one[name]:,}" for _, one in columns), style="dim")
    for name in dict.fromkeys(name for one in metrics.values() for name in one):
        values = [_number(one.get(name)) for _, one in columns]
        made.add_row(screen.plain(name), *values, style="bold" if name == chosen else "")
    return made


def groups_table(rows: list[dict[str, Any]], primary: str) -> Table | None:
    """The primary metric of a comparison's methods by group; None where all that was judged is warm."""
    shown = [row for row in rows if row.get("groups")]
    names = [name for name in _GROUPS if any(name in row["groups"] for row in shown)]
    if names in ([], ["warm"]):
        return None
    made = screen.table(primary, *(_GROUPS[name] for name in names), right=1)
    users = [next(row["groups"][name]["users"] for row in shown if name in row["groups"]) for name in names]
    made.add_row("users", *(f"{count:,}" for count in users), style="dim")
    for row in sorted(shown, key=lambda one: -(one["mean"].get(primary) or -1.0)):
        values = [_number(row["groups"].get(name, {}).get(primary)) for name in names]
        made.add_row(screen.plain(row["method"]), *values)
    return made


def protocol_words(biased: bool, protocol: str | None) -> str | None:
    """What a reader of sampled figures must know; None where all are of full ranking."""
    if protocol == "both":
        return "figures named sampled are of a few drawn items: biased, not comparable with the others"
    return "sampled negatives: biased, not comparable with full ranking" if biased else None


def _number(value: float | None) -> str:
    """Four places, one from 10 on: a mean popularity has no use for more."""
    return words.number(value, 4 if value is None or abs(value) < 10 else 1)
