"""The table of a comparison in a terminal: means, deviations, differences, what is missing, and what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from negsieve.cli import figures, screen
from negsieve.report import words
from negsieve.report.verdict import verdict
from negsieve.store.atomic import read_json

_LEVELS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
_FIRST = "recall@20"


def show(found: dict[str, Any]) -> None:
    """A study's table on stdout: ``found`` is what ``negsieve.compare`` returns."""
    out = screen.console()
    rows, primary = found["rows"], found["primary"]
    study = read_json(Path(found["study"]) / "study.json")
    out.print()
    data = study["data"]
    head = screen.plain(data["name"], "bold")
    head.append(f"   {data['users']:,} users, {data['items']:,} items, {data['interactions']:,} rows", "dim not bold")
    out.print(head)
    out.print()
    out.print(_table(out, rows, primary, found["baseline"]))
    out.print()
    if (groups := figures.groups_table(rows, primary)) is not None:
        out.print(groups)
        out.print()
    _legend(out, study, found)
    missing = [(row["method"], one) for row in rows for one in row["missing"]]
    for method, one in missing:
        out.print(screen.plain(f"missing: {method} seed {one['seed']}: {one['why']}", "red"), soft_wrap=True)
    if missing:
        out.print()
    gone = [{"method": method, "seed": one["seed"], "why": one["why"]} for method, one in missing]
    for sentence in verdict(study, rows, gone):
        out.print(screen.plain(sentence))
    out.print()
    out.print(screen.facts([("study", found["study"]), ("report", found["report"])]))
    out.print()


def _table(out: Console, rows: list[dict], primary: str, baseline: str) -> Table:
    wide = out.width >= 100
    metrics = list(dict.fromkeys((_FIRST, primary) if _has(rows, _FIRST) else (primary,)))
    trained = [row for row in rows if not row["reference"]]
    counted = len({len(row["seeds"]) for row in trained}) > 1
    places = ["method", *metrics, "difference"]
    made = screen.table(*places, *(["seeds"] if counted else []), "false", "time", right=len(places), fold=1)
    honest = [row for row in trained if not row.get("oracle")]
    top = {name: max((row["mean"].get(name) or 0.0 for row in honest), default=0.0) for name in metrics}
    for row in sorted(rows, key=lambda one: -(one["mean"].get(primary) or -1.0)):
        style = "dim" if row["reference"] else "red" if not row["seeds"] else ""
        told = screen.plain(_name(row, trained), "bold" if row["method"] == baseline else "")
        if row.get("oracle"):
            told.append("  oracle", "yellow not bold")
        if row["missing"]:
            told.append(f"  {len(row['missing'])} missing", "red")
        cells = [_value(row, name, best=top[name], wide=wide) for name in metrics]
        cells.append(_difference(row, baseline, wide))
        costs = list(_costs(row))
        if counted:
            costs.insert(0, "" if row["reference"] else str(len(row["seeds"])))
        made.add_row(told, *cells, *costs, style=style)
    return made


def _has(rows: list[dict], metric: str) -> bool:
    return any(metric in row["mean"] for row in rows)


def _name(row: dict, rows: list[dict]) -> str:
    """A method without its loss, where that still tells it from the others."""
    if row["reference"]:
        return row["method"]
    twins = [one for one in rows if (one["model"], one["sampler"]) == (row["model"], row["sampler"])]
    return row["method"] if len(twins) > 1 else f"{row['model']}/{row['sampler']}"


def _value(row: dict, metric: str, *, best: float, wide: bool) -> Text:
    value, sd = row["mean"].get(metric), row["sd"].get(metric)
    strong = not row["reference"] and not row.get("oracle") and value is not None and value == best
    told = Text(_lean(words.number(value), wide), style="bold" if strong else "")
    if sd is not None:
        told.append(f" ±{_lean(words.number(sd), wide)}", "dim not bold")
    return told


def _lean(text: str, wide: bool) -> str:
    """Without the zero before the point, where columns are short."""
    return text if wide else text.replace("0.", ".", 1) if text.lstrip("+− ±").startswith("0.") else text


def _difference(row: dict, baseline: str, wide: bool) -> Text:
    gap = row["difference"]
    if row["method"] == baseline:
        return Text("baseline", style="dim")
    if gap is None:
        return Text("untrained" if row["reference"] else "")
    p = gap["p_adjusted"]
    stars = next((stars for level, stars in _LEVELS if p is not None and p < level), "")
    style = "" if not stars else "green" if gap["mean"] > 0 else "red"
    return Text(f"{_lean(words.signed(gap['mean']), wide)} {stars}", style=style)


def _costs(row: dict) -> tuple[str, str]:
    rate, took = row["false_negative_rate"], row["seconds"]
    return (
        words.share(rate["mean"]) if rate else "",
        f"{took['mean']:,.0f} s" if took else "",
    )


def _legend(out: Console, study: dict, found: dict) -> None:
    told = (
        f"Means over {words.plural(len(study['seeds']), 'seed')} on {found['part']} ± standard deviation. Difference: "
        f"{found['primary']} against {found['baseline']}, {study['test']}, {study['correction']}-corrected: "
        "* p < 0.05, ** p < 0.01, *** p < 0.001. False: share of the drawn negatives that the user took in the "
        "held-out part. Time: of one run."
    )
    out.print(screen.plain(told, "dim"))
    out.print()
