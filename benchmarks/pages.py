"""Writes what was measured into docs/benchmarks.md: the tables between markers, and the plot of the curves.

python benchmarks/pages.py
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
from curves import CURVES
from rows import ROWS, Row
from workers import ROOT

FOLDER = ROOT / "benchmarks" / "results"
PAGE, PLOT = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "benchmarks.png"
RECBOLE = "RecBole"


def speed_table(results: dict) -> list[str]:
    """A line a side: CPU seconds at one thread, how much faster ours is, quality, share of the machine, memory."""
    lines = [
        "| work | who | CPU s | ours faster by | wanted | wall s, 2 threads | Recall@20, NDCG@20 | of machine | MB |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in ROWS:
        at = results.get("rows", {}).get(row.name, {})
        if "1" in at:
            lines += _lines(row, at["1"], at.get("2"))
    return lines


def _lines(row: Row, at_one: dict, at_two: dict | None) -> list[str]:
    ours = [side.name for side in row.sides if side.ours and side.name in at_one["sides"]]
    lines, title = [], f"{row.title}; {row.unit}"
    for side in row.sides:
        found = at_one["sides"].get(side.name)
        if found is None:
            if side.name in at_one["absent"]:
                lines.append(f"| {title} | {side.name} | did not run: {at_one['absent'][side.name]} | | | | | | |")
                title = ""
            continue
        two = (at_two or {"sides": {}})["sides"].get(side.name)
        cells = [
            title,
            f"**{side.name}**" if side.ours else side.name,
            _seconds(found["cpu"]) + ("" if found["share_of_unit"] > 0.99 else " †"),
            "" if side.ours else "<br>".join(_faster(at_one["ratios"], own, side.name, len(ours) > 1) for own in ours),
            "<br>".join(f"{side.target[own]:g}" for own in ours if own in side.target),
            _seconds(two["wall"]) if two else "",
            _quality(found.get("quality")),
            f"{found['bound']['share']:.0%}" if "bound" in found else "",
            f"{found['peak_mb']:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
        title = ""
    return lines


def _faster(ratios: dict, own: str, other: str, several: bool) -> str:
    one = ratios.get(own, {}).get(other)
    if one is None:
        return ""
    who = f" ({own.partition(', ')[2] or own})" if several else ""
    return f"**{one['median']:.3g}** [{one['least']:.3g} to {one['greatest']:.3g}]{who}"


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 20 else f"{value:.0f}"


def _quality(found: dict | None) -> str:
    if not found:
        return ""
    figures = ", ".join(f"{found[name]:.4f}" for name in ("recall@20", "ndcg@20") if name in found)
    others = ", ".join(f"{name} {value:.4f}" for name, value in found.items() if name.endswith("@50"))
    after = f" after {found['epochs']:.3g}" if "epochs" in found else ""
    return (figures or others) + after


def memory_table(results: dict) -> list[str]:
    """Peak memory of ours against RecBole's, for the same work."""
    lines = ["| work | ours, MB | RecBole, MB | share |", "|---|--:|--:|--:|"]
    for row in ROWS:
        sides = results.get("rows", {}).get(row.name, {}).get("1", {}).get("sides", {})
        mine = [found["peak_mb"] for found in sides.values() if found["peer"] == "ours"]
        if mine and RECBOLE in sides:
            theirs = sides[RECBOLE]["peak_mb"]
            lines.append(f"| {row.title} | {max(mine):.0f} | {theirs:.0f} | {max(mine) / theirs:.2f} |")
    return lines


def scaling_table(results: dict) -> list[str]:
    """Nanoseconds an interaction, and memory."""
    lines = [
        "| method | threads | pairs | ns an interaction | reading, ns an interaction | MB after reading | peak MB |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for method, sizes in results.get("rows", {}).items():
        for size, counts in sizes.items():
            for threads, one in counts.items():
                if "absent" in one:
                    lines.append(f"| {method} | {threads} | {size} million | did not run: {one['absent']} | | | |")
                    continue
                spread = f"{one['ns_per_pair']:.0f} [{one['least']:.0f} to {one['greatest']:.0f}]"
                read = f"{one['load_ns_per_pair']:.0f} | {one['loaded_mb']:,}"
                lines.append(f"| {method} | {threads} | {one['pairs']:,} | {spread} | {read} | {one['peak_mb']:,} |")
    return lines


def facts(results: dict) -> list[str]:
    """What was measured on, and how busy it was."""
    machine, rows = results["machine"], results.get("rows", {})
    runs = [run for at in rows.values() for run in at.values()]
    if not runs:
        return []
    load = max(max(run["load"]) for run in runs)
    limits = [run["ceilings"] for at in rows.values() for key, run in at.items() if key == "1"]
    best = {name: max(one[name] for one in limits) for name in ("triad_gb_s", "sgemm_gflop_s")} if limits else {}
    gathered = {size: max(one["rows_m_s"][size] for one in limits) for size in limits[0]["rows_m_s"]} if limits else {}
    commits = sorted({run["commit"] for run in runs})
    return [
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, torch {machine['torch']}, "
        f"numpy {machine['numpy']}; commits {', '.join(commits)}; the load average was at most {load:.1f}. "
        f"One thread streams {best.get('triad_gb_s', 0):.0f} GB/s, multiplies at {best.get('sgemm_gflop_s', 0):.0f} "
        "GFLOP/s and gathers, in million rows of 256 bytes a second, "
        + ", ".join(f"{rate:.0f} from {size} MB" for size, rate in gathered.items())
        + "."
    ]


def goal_lines(results: dict) -> list[str]:
    """The one command, and what it took."""
    one = results.get("goal", {}).get("recall@20 of .16", {}).get("1")
    if one is None:
        return []
    if "absent" in one:
        return [f"Did not run: {one['absent']}"]
    found = ", ".join(f"{name} {value:.4f}" for name, value in one["metrics"].items())
    return [
        "```sh",
        one["command"],
        "```",
        "",
        f"{one['cpu']:.1f} CPU seconds from the Parquet file to a finished run with its report, at one thread: {found} "
        f"after {one['epochs']} epochs, {one['peak_mb']} MB at the peak. Wanted: recall@20 of "
        f"{one['target']['recall@20']} in under {one['target']['cpu']:.0f}.",
    ]


def curve_table(results: dict) -> list[str]:
    """The last point of every curve."""
    lines = ["| who | epochs | CPU s of training | Recall@20 | NDCG@20 |", "|---|--:|--:|--:|--:|"]
    for name, at in results.get("curves", {}).items():
        one = at.get("1", {})
        if one.get("points"):
            last = one["points"][-1]
            figures = f"{last['recall@20']:.4f} | {last['ndcg@20']:.4f}"
            lines.append(f"| {name} | {last['epochs']} | {_seconds(last['cpu'])} | {figures} |")
        else:
            lines.append(f"| {name} | did not run: {one.get('absent', '')} | | | |")
    return [*lines, "", f"![Recall@20 against CPU seconds of training]({PLOT.name})"]


def plot(results: dict, path: Path) -> None:
    """Recall@20 against CPU seconds of training, both sides of every curve as far as it went."""
    figure, axis = plt.subplots(figsize=(8, 5))
    for curve in CURVES:
        points = results.get("curves", {}).get(curve.name, {}).get("1", {}).get("points")
        if points:
            seconds, recall = ([point[name] for point in points] for name in ("cpu", "recall@20"))
            style = "-" if curve.peer == "ours" else "--"
            axis.plot(seconds, recall, style, marker="o", markersize=3, label=curve.name)
    axis.set_xscale("log")
    axis.set_xlabel("CPU seconds of training, one thread")
    axis.set_ylabel("Recall@20 on Gowalla's test part")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def between(text: str, name: str, lines: list[str]) -> str:
    """``text`` with what stands between the markers of ``name`` replaced."""
    begin, end = f"<!-- {name}: written by benchmarks/pages.py -->", f"<!-- end of {name} -->"
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n" + "\n".join(lines) + f"\n{end}{rest.partition(end)[2]}"


def main() -> None:
    bench, scaling = (
        json.loads(path.read_text()) if path.exists() else {}
        for path in (FOLDER / "bench.json", FOLDER / "scaling.json")
    )
    text = PAGE.read_text()
    if bench:
        text = between(text, "facts", facts(bench))
        text = between(text, "speed", speed_table(bench))
        text = between(text, "memory", memory_table(bench))
        text = between(text, "goal", goal_lines(bench))
        if bench.get("curves"):
            text = between(text, "curves", curve_table(bench))
            plot(bench, PLOT)
    if scaling:
        text = between(text, "scaling", scaling_table(scaling))
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
