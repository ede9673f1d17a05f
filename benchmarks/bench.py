"""Our speed against others', in one run: whoever is compared takes turns, A B A B, in CPU seconds at one thread.

    make bench                                              # every row, the curves, and docs/benchmarks.md
    python benchmarks/bench.py --data FOLDER/gowalla --rows mf-sgd sampling --peers recbole implicit
    python benchmarks/bench.py --data FOLDER/gowalla --rows lightgcn --threads 2      # adds wall seconds at 2

Each side is a process of its own with its pools held to ``--threads``; it loads, does one unit to warm up, and
then one unit a turn. What is quoted is the median of the rounds' ratios, with their least and greatest. Beside
each row: peak memory, Recall and NDCG after the same work, the share of what the machine could do (measured in
the same run), the load. Results are merged row by row into the file, so a run that is stopped goes on with
``--rows``. A peer that cannot run here is named, never guessed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import goal
import numpy as np
import pages
import torch
from bounds import BOUNDS
from curves import CURVES, draw_curve
from peers.environments import PEERS, installed, make
from quality import Judge
from rows import ROWS, Row, Side
from workers import ROOT, Absent, Place, Worker

import negsieve

RESULTS = ROOT / "benchmarks" / "results" / "bench.json"
MORE = ("goal", "curves")


def run_row(row: Row, place: Place, judge: Judge, *, chosen: set[str], rounds: int | None) -> dict:
    """Everything that was measured for a row."""
    load = [os.getloadavg()[0]]
    sides = [side for side in row.sides if side.ours or side.peer in chosen]
    with ExitStack() as stack:
        ceilings = stack.enter_context(Worker("ceilings", "ceilings", {"work": row.work}, place=place))
        workers, absent = {}, {}
        for side in sides:
            try:
                workers[side.name] = stack.enter_context(start(side, row, place, judge))
                workers[side.name].go()  # warms up
            except Absent as reason:
                workers.pop(side.name, None)
                absent[side.name] = str(reason)
                print(f"  {side.name}: {reason}", flush=True)
        limits, turns = ceilings.go()["ceilings"], {name: [] for name in workers}
        for _ in range(rounds or row.rounds):
            for name, worker in workers.items():
                turns[name].append(worker.go())
        found = {name: summed_up(taken, row, workers[name], judge) for name, taken in turns.items()}
    load.append(os.getloadavg()[0])
    for side in sides:
        if side.name in found:
            found[side.name] |= {"peer": side.peer, "target": side.target}
    if row.name in BOUNDS:
        add_shares(found, BOUNDS[row.name](limits, judge.dataset))
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "threads": place.threads,
        "load": [round(one, 2) for one in load],
        "ceilings": limits,
        "sides": found,
        "absent": absent,
        "ratios": ratios(row, turns, "cpu" if place.threads == 1 else "wall"),
    }


def start(side: Side, row: Row, place: Place, judge: Judge) -> Worker:
    spec = {"work": row.work, **side.spec}
    if row.given:
        spec["factors"] = str(judge.vectors(place))
    return Worker(side.peer, side.name, spec, place=place)


def summed_up(taken: list[dict], row: Row, worker: Worker, judge: Judge) -> dict:
    """Medians over the turns, for the whole piece of work; and what the work was worth."""
    last, share = taken[-1], sum(turn["share"] for turn in taken) + taken[0]["share"]
    found = {
        "cpu": statistics.median(turn["cpu"] / turn["share"] for turn in taken),
        "wall": statistics.median(turn["wall"] / turn["share"] for turn in taken),
        "turns": [round(turn["cpu"] / turn["share"], 6) for turn in taken],
        "share_of_unit": last["share"],
        "peak_mb": round(last["peak_mb"], 1),
        "facts": {key: last[key] for key in ("engine", "loss") if key in last} | worker.started["ready"],
    }
    if row.trained:
        found["quality"] = judge.of_worker(worker) | {"epochs": round(share, 3)}
    elif "quality" in last:
        found["quality"] = {key: round(value, 5) for key, value in last["quality"].items()}
    return found


def ratios(row: Row, turns: dict[str, list[dict]], clock: str) -> dict[str, dict[str, dict]]:
    """Theirs over ours, round by round: ``{ours: {theirs: median, least, greatest}}``."""
    speed = {name: [turn[clock] / turn["share"] for turn in taken] for name, taken in turns.items()}
    ours = [side.name for side in row.sides if side.ours and side.name in speed]
    found: dict[str, dict[str, dict]] = {}
    for own in ours:
        for other in speed.keys() - set(ours):
            each = [theirs / mine for mine, theirs in zip(speed[own], speed[other], strict=True)]
            found.setdefault(own, {})[other] = {
                "median": statistics.median(each),
                "least": min(each),
                "greatest": max(each),
            }
    return found


def add_shares(found: dict, bounds: dict[str, tuple[float, str]]) -> None:
    """The least seconds that the machine needs for our sides' work, beside what they took."""
    for name, (seconds, why) in bounds.items():
        if name in found:
            found[name]["bound"] = {"seconds": seconds, "why": why, "share": seconds / found[name]["cpu"]}


def commit() -> str:
    """The commit of the working tree, with a + where something was changed."""
    asked = [["git", "rev-parse", "--short", "HEAD"], ["git", "status", "--porcelain", "--untracked-files=no"]]
    head, changed = (subprocess.run(one, cwd=ROOT, capture_output=True, text=True).stdout.strip() for one in asked)
    return head + ("+" if changed else "")


def machine() -> dict:
    """What was measured on."""
    with open("/proc/cpuinfo") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown")
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def write_arrays(data: Path, path: Path) -> negsieve.data.dataset.Dataset:
    """The shared arrays of ``peers/turns.py``; returns the data set that they came from."""
    dataset = negsieve.load_data(data)
    pairs = {part: torch.stack(dataset.pairs(part), 1).numpy() for part in ("train", "test")}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **pairs, sizes=np.array([dataset.n_users, dataset.n_items]))
    return dataset


def merge(path: Path, section: str, name: str, threads: int, found: dict) -> None:
    """Puts what was found into the results, beside what other runs found."""
    results = json.loads(path.read_text()) if path.exists() else {}
    results["machine"] = machine()
    results.setdefault(section, {}).setdefault(name, {})[str(threads)] = found
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names, peers = [row.name for row in ROWS], [*PEERS, "loops"]
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "gowalla")
    parser.add_argument("--rows", nargs="*", choices=[*names, *MORE], default=[*names, *MORE])
    parser.add_argument("--peers", "--peer", nargs="+", choices=peers, default=peers)
    parser.add_argument("--curves", nargs="+", choices=[one.name for one in CURVES])
    parser.add_argument("--rounds", type=int, help="turns of every side; by default what each row says")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--environments", type=Path, default=ROOT / ".venv-peers")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    args = parse()
    chosen = [row for row in ROWS if row.name in args.rows]
    curves = [one for one in CURVES if args.curves is None or one.name in args.curves]
    curves = [one for one in curves if one.peer == "ours" or one.peer in args.peers] if "curves" in args.rows else []
    for peer in args.peers:
        if peer in PEERS and not installed(peer, args.environments):
            make(peer, args.environments)
    cache = args.environments / "cache"
    place = Place(args.environments.absolute(), cache.absolute(), (cache / "gowalla.npz").absolute(), args.threads)
    minutes = sum(one.minutes for one in (*chosen, *curves)) + ("goal" in args.rows) * goal.MINUTES
    print(f"{len(chosen)} rows and {len(curves)} curves, about {minutes:.0f} minutes; load {os.getloadavg()[0]:.2f}")
    judge = Judge(write_arrays(args.data, place.arrays), place)
    for row in chosen:
        began = time.monotonic()
        print(f"{row.name}: {row.title}", flush=True)
        found = run_row(row, place, judge, chosen=set(args.peers), rounds=args.rounds)
        merge(args.out, "rows", row.name, args.threads, found)
        for own, others in found["ratios"].items():
            for other, ratio in others.items():
                spread = f"{ratio['least']:.2f} to {ratio['greatest']:.2f}"
                print(f"  {own}: {ratio['median']:.2f} times as fast as {other} ({spread})")
        print(f"  {time.monotonic() - began:.0f} s, load {found['load']}", flush=True)
    if "goal" in args.rows:
        found = goal.reach(args.data / "interactions.parquet", place)
        print(f"goal: {found}", flush=True)
        merge(args.out, "goal", "recall@20 of .16", args.threads, found)
    for one in curves:
        print(f"curve: {one.name}", flush=True)
        merge(args.out, "curves", one.name, args.threads, draw_curve(one, place, judge))
    if args.out == RESULTS:
        pages.main()


if __name__ == "__main__":
    main()
