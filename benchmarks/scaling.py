"""What an interaction costs from one million to fifty: to load, and in an epoch of MF, uniform or hard negatives.

    python benchmarks/scaling.py [--millions 1 5 50] [--threads 1 2] [--steps 2000] [--out results.json]

Synthetic power-law logs (``power_law.py``) of 20,000 users and 4,000 items a million pairs, so of a million users
and 200,000 items at fifty. Every figure is a process of its own that reads the log from Parquet as a user's
would be read, trains as ``negsieve train`` does, and is timed over ``--steps`` steps of 2048 (an epoch where that is
less) after as many to warm up: nanoseconds of CPU time an interaction at one thread, of wall time at more. Peak
memory is the process's after loading and after training.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import power_law
from bench import commit, machine
from rows import BATCH, DNS, RATE, Side, mf
from workers import ROOT, Absent, Place, Worker

USERS, ITEMS = 20_000, 4_000  # a million pairs
METHODS = (
    mf("uniform, SGD", "online_sgd", lr=RATE),
    mf("uniform, Adam", "adam"),
    mf("DNS 16, SGD", "online_sgd", DNS, lr=RATE),
    mf("DNS 16, Adam", "adam", DNS),
)


def log_of(millions: int, folder: Path) -> Path:
    """The folder of a log of so many million pairs, made once."""
    source = folder / f"power-law-{millions}m"
    if not source.exists():
        source.mkdir(parents=True)
        began = time.monotonic()
        n = power_law.write(source / "interactions.parquet", USERS * millions, ITEMS * millions)
        print(f"{n:,} pairs of {USERS * millions:,} users and {ITEMS * millions:,} items made in", end=" ")
        print(f"{time.monotonic() - began:.0f} s", flush=True)
    return source


def measure(side: Side, millions: int, *, place: Place, steps: int, rounds: int) -> dict:
    """One method on one log."""
    source = log_of(millions, place.cache)
    steps = min(steps, millions * 1_000_000 // BATCH)
    spec = {"work": "mf_scaling", **side.spec, "source": str(source), "batches": steps}
    with Worker("ours", f"{side.name} {millions}m {place.threads}t", spec, place=place) as worker:
        worker.go()
        turns = [worker.go() for _ in range(rounds)]
    clock = "cpu" if place.threads == 1 else "wall"
    each = [turn[clock] / turn["pairs"] * 1e9 for turn in turns]
    loaded = worker.started
    return {
        "ns_per_pair": round(statistics.median(each), 1),
        "least": round(min(each), 1),
        "greatest": round(max(each), 1),
        "load_ns_per_pair": round(loaded["ready"]["load_cpu"] / loaded["ready"]["pairs"] * 1e9, 1),
        "pairs": loaded["ready"]["pairs"],
        "loaded_mb": round(loaded["peak_mb"]),
        "peak_mb": round(turns[-1]["peak_mb"]),
        "engine": turns[-1]["engine"],
        "load": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, nargs="+", default=[1, 5, 50])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--methods", nargs="+", choices=[one.name for one in METHODS])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=ROOT / ".venv-peers" / "cache")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "scaling.json")
    args = parser.parse_args()
    results = json.loads(args.out.read_text()) if args.out.exists() else {"rows": {}}
    results |= {"machine": machine(), "commit": commit(), "date": datetime.now(UTC).isoformat(timespec="seconds")}
    for millions in args.millions:
        for side in METHODS if args.methods is None else [one for one in METHODS if one.name in args.methods]:
            for threads in args.threads:
                place = Place(args.cache.absolute(), args.cache.absolute(), Path(), threads)
                try:
                    found = measure(side, millions, place=place, steps=args.steps, rounds=args.rounds)
                except Absent as reason:
                    found = {"absent": str(reason)}
                print(f"{millions}m, {side.name}, {threads} threads: {found}", flush=True)
                results["rows"].setdefault(side.name, {}).setdefault(str(millions), {})[str(threads)] = found
                args.out.parent.mkdir(parents=True, exist_ok=True)
                args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
