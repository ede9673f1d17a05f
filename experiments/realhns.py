"""Reproduces the tables and figures of RealHNS (Ma et al., RecSys 2023) on Amazon Toy and Game.

    python experiments/realhns.py --data FOLDER --plan                       what there is, and hours of it
    python experiments/realhns.py --data FOLDER --only table3:game --seeds 1
    python experiments/realhns.py --data FOLDER --only game --methods UNS "DNS*" "RealHNS(DNS*)"
    python experiments/realhns.py --data FOLDER --preset reference --only table2

FOLDER holds ``amazon-toy-game``. Named experiments are table2, table3, table4, controls, figure1, figure3 to figure7
and sizes (of the baselines' candidates), each with its target: ``table2:toy``, ``table2:game``; ``--only`` takes such a
name, or either half. ``--methods`` are labels of rows. Both encoders are trained once a domain, and every method and
seed starts from the same ones. What is finished is not run again: the same command goes on where it was stopped.

The tables, with published figures beside ours and rows that were not run, go to standard output, to
``OUT/<preset>.md`` and, with everything else, to ``OUT/<preset>.json``; both hold every experiment of which something
was run, in this call or before it. With ``--epochs`` folder and files have the limit in their names. ``--tables`` makes
tables of what there is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from realhns_parts.figures import begun, collect
from realhns_parts.pages import page
from realhns_parts.plan import Experiment, Row, chosen, experiments, picked
from realhns_parts.settings import PRESETS
from realhns_parts.work import ASSUMED, Work

from negsieve.errors import NegsieveError
from negsieve.store import atomic


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds amazon-toy-game")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="experiments, such as table3:game")
    parser.add_argument("--methods", nargs="+", default=[], metavar="LABEL", help="rows of them, such as UNS '+GS'")
    parser.add_argument("--preset", choices=list(PRESETS), default="clean")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="at most; the published runs end by patience")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--out", type=Path, default=Path("studies/realhns"))
    parser.add_argument("--plan", action="store_true", help="say what would be run, and end")
    parser.add_argument("--tables", action="store_true", help="make the tables of what there is, and end")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    """Runs what the command line asks for. Raises NegsieveError subclasses, Interrupted among them."""
    args = arguments(given)
    preset = PRESETS[args.preset]
    known = experiments(preset)
    several = chosen(known, args.only)
    rows = picked(several, args.methods)
    work = Work(args.data, args.out, preset, seeds=args.seeds, epochs=args.epochs, jobs=args.jobs, tell=_tell)
    _announce(work, rows)
    if args.plan:
        return
    try:
        for cell, methods in work.todo(rows).items() if not args.tables else ():
            _tell(f"{cell.target}, {cell.model}, {cell.start}")
            work.run(cell, methods)
    finally:
        _write(work, [one for one in known.values() if one in several or begun(one, work)], shown=several)


def _announce(work: Work, rows: list[tuple[Experiment, Row]]) -> None:
    """The plan, before anything is done: a line a study, and the hours of what is missing."""
    total = 0.0
    for cell, methods in work.todo(rows).items():
        done = sum(work.finished(cell, row) for row in methods)
        hours = work.estimate(cell, methods)
        total += hours
        runs = f"{done} of {len(methods) * work.seeds} runs done"
        _tell(f"{work.folder(cell)}: {len(methods)} methods, {runs}, {hours:.1f} h")
        for row in methods:
            _tell(f"    {row.label}: {row.sampler}")
    each = work.epochs or ASSUMED
    _tell(f"about {total:.1f} hours of one core if a run takes {each} epochs, and the encoders beside that")


def _write(work: Work, several: list[Experiment], *, shown: list[Experiment]) -> None:
    records = {one.name: collect(one, work) for one in several}
    everything = list(records.values())
    atomic.write_text(work.out / f"{work.name}.json", atomic.json_text(everything, indent=2, undefined=True) + "\n")
    atomic.write_text(work.out / f"{work.name}.md", page(everything))
    print(page(records[one.name] for one in shown))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except NegsieveError as problem:
        print(problem, file=sys.stderr)
        sys.exit(problem.exit_code)
