"""Records of experiments as one Markdown page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .published import METRICS, tolerance

ABOUT = """\
Sampled evaluation, 99 items drawn once for each test item and the same for every method and seed, equal scores halved;
published figures are the best epoch on test, with items drawn anew at each evaluation. A difference is bold beyond the
tolerance ({tolerances}). hit: all nine within it; partial: not so, but ndcg@10 stands to every other row that was run
as published; miss: neither. Epochs count from 1."""


def page(records: Iterable[dict[str, Any]]) -> str:
    """All of them, one after the other, below what holds for all."""
    tolerances = ", ".join(f"{name} {tolerance(name):.3f}" for name in ("ndcg", "hr", "auc"))
    return "\n".join(["# RealHNS", "", ABOUT.format(tolerances=tolerances), "", *map(section, records)])


def section(record: dict[str, Any]) -> str:
    """One experiment: figures beside published ones, groups, the course of the runs, tests."""
    limit = f"; at most {record['epochs']} epochs, which is no reproduction" if record["epochs"] else ""
    run = [row for row in record["rows"] if row["mean"]]
    parts = [f"## {record['name']}: {record['title']}", f"{record['preset']}; seeds: {record['seeds asked']}{limit}."]
    parts.append(_table(("method", "seeds", *METRICS, "verdict"), _figures(record["rows"])))
    if run:
        names = ("ndcg@10", "hr@10", "auc")
        parts.append(_table(("method", "test items", "users", *names), _groups(run, names)))
        parts.append(
            _table(("method", "best epoch", "epochs", "columns of the best epoch", "seconds", "stamps"), _course(run))
        )
    if record["tests"]:
        head = ("method", "against", "metric", "difference", "95 %", "p (Holm)")
        parts.append(_table(head, map(_test, record["tests"])))
    return "\n\n".join(parts) + "\n"


def _figures(rows: list[dict[str, Any]]) -> Iterable[list[str]]:
    for row in rows:
        found, known = row["mean"], row["published"]
        if found:
            own = [f"{found[name]:.4f}" + _spread(row["sd"][name]) for name in METRICS]
            yield [row["label"], f"{row['seeds']} of {row['asked']}", *own, row["verdict"]]
        else:
            yield [row["label"], f"0 of {row['asked']}", *["-"] * len(METRICS), row["verdict"]]
        if known:
            yield ["published", "", *(f"{known[name]:.4f}" for name in METRICS), ""]
        if known and found:
            yield ["difference", "", *(_gap(found[name] - known[name], name) for name in METRICS), ""]


def _spread(sd: float | None) -> str:
    return "" if sd is None else f" ± {sd:.4f}"


def _gap(value: float, name: str) -> str:
    text = f"{value:+.4f}"
    return text if abs(value) <= tolerance(name) + 1e-9 else f"**{text}**"


def _groups(rows: list[dict[str, Any]], names: tuple[str, ...]) -> Iterable[list[str]]:
    for row in rows:
        for group, found in row["groups"].items():
            if found["users"]:
                yield [row["label"], group, str(found["users"]), *(f"{found[name]:.4f}" for name in names)]
        yield [row["label"], "all, among all items", "", *(f"{row['full'][name]:.4f}" for name in names)]


def _course(rows: list[dict[str, Any]]) -> Iterable[list[str]]:
    for row in rows:
        shares = row["origins"] or {}
        columns = ", ".join(f"{share:.1%} {name}" for name, share in shares.items() if share) or "-"
        several = [_listed(row[name]) for name in ("best epoch", "epochs")]
        yield [
            row["label"],
            *several,
            columns,
            _listed(f"{one:.0f}" for one in row["seconds"]),
            "; ".join(row["stamps"]),
        ]


def _test(test: dict[str, Any]) -> list[str]:
    reach = "-" if test["low"] is None else f"{test['low']:+.4f} to {test['high']:+.4f}"
    names = [test[name] for name in ("method", "against", "metric")]
    return [*names, f"{test['difference']:+.4f}", reach, f"{test['p Holm']:.2g}"]


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in values)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
