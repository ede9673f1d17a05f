"""Writes the tables of docs/study.md from what benchmarks/study.py found.

    python benchmarks/study_page.py --found studies/all [--page docs/study.md] [--json benchmarks/results/study.json]

Only what stands between the page's markers changes; the words around it are people's.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np

METRIC, FIRST = "ndcg@20", "ml-100k"
SETS = {"ml-100k": "ML-100K", "dens-toy": "Toy", "online-retail-kitchen": "Kitchen"}
REFERENCES = {"ease": "EASE, untrained", "itemknn": "ItemKNN, untrained", "popularity": "popularity ranking"}
WHOLE = ("full_softmax", "enmf")


def read(folder: Path) -> dict:
    """Each data set's summary, without the paths of its runs."""
    found = {name: json.loads((folder / f"{name}.json").read_text()) for name in SETS}
    for one in found.values():
        for method in one["methods"].values():
            method.pop("runs", None)
    return found


def ranking(found: dict) -> list[str]:
    """Markdown rows, best on the first data set first; reference lines among them."""
    lines = [
        "| method | " + " | ".join(SETS.values()) + " | false negatives, ML-100K | evaluations a positive |",
        "|---|" + "--:|" * (len(SETS) + 2),
    ]
    methods = found[FIRST]["methods"]
    value = {name: np.mean(one[METRIC]) for name, one in methods.items()}
    value |= {name: found[FIRST]["references"][name][METRIC] for name in REFERENCES}
    for name in sorted(value, key=lambda one: -value[one]):
        if name in REFERENCES:
            cells = [_reference(found[one], name) for one in SETS]
            lines.append(f"| *{REFERENCES[name]}* | {' | '.join(cells)} | | |")
            continue
        cells = [_trained(found[one], name) for one in SETS]
        rate = methods[name]["false_negative_rate"]
        false = "-" if any(one is None for one in rate) or name in WHOLE else f"{100 * np.mean(rate):.1f} %"
        cost = "all items" if name in WHOLE else f"{methods[name]['cost']:.0f}"
        lines.append(f"| {name} | {' | '.join(cells)} | {false} | {cost} |")
    return lines


def _reference(found: dict, name: str) -> str:
    measured = found["references"].get(name)
    return f"{measured[METRIC]:.4f}" if measured else "too large"


def _trained(found: dict, name: str) -> str:
    one, test = found["methods"].get(name), found["tests"].get(name)
    if one is None:
        return "-"
    mark = "" if test is None or test["p"] >= 0.05 else " ▲" if test["difference"] > 0 else " ▼"
    return f"{np.mean(one[METRIC]):.4f} ± {np.std(one[METRIC], ddof=1):.4f}{mark}"


def chosen(found: dict) -> list[str]:
    """Markdown rows: what the trials chose for each method and data set."""
    lines = ["| method | data | chosen | best epoch (most) | seconds |", "|---|---|---|--:|--:|"]
    methods = found[FIRST]["methods"]
    for name in sorted(methods, key=lambda one: -np.mean(methods[one][METRIC])):
        for data, title in SETS.items():
            if name not in found[data]["methods"]:
                continue
            one = found[data]["methods"][name]
            pick = one["chosen"]
            loss = "" if pick["loss"] == "auto" else f", `{pick['loss']}`"
            lines.append(
                f"| {name} | {title} | `{pick['sampler']}`{loss}, lr {pick['lr']:g}, L2 {pick['l2']:g} | "
                f"{np.mean(one['best_epoch']) + 1:.0f} ({one['most_epochs']}) | {np.mean(one['seconds']):.0f} |"
            )
    return lines


def effort(found: dict) -> list[str]:
    """How many runs and hours stand behind the tables."""
    methods = [one for data in found.values() for one in data["methods"].values()]
    runs = sum(len(one["valid"]) + len(one[METRIC]) - 1 for one in methods)
    return [f"{runs:,} runs, {sum(one['all_seconds'] for one in methods) / 3600:.1f} core hours (torch 2.13)."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--found", type=Path, required=True)
    parser.add_argument("--page", type=Path, default=Path("docs/study.md"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/study.json"))
    args = parser.parse_args()
    found = read(args.found)
    text = args.page.read_text()
    for name, lines in (("ranking", ranking(found)), ("chosen", chosen(found)), ("effort", effort(found))):
        between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        assert between.search(text), f"{args.page} has no place for the {name}"
        text = between.sub(lambda place, lines=lines: place[1] + "\n".join(lines) + "\n" + place[2], text)
    args.page.write_text(text)
    args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
