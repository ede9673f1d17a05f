"""What RealHNS adds to an epoch, part by part, beside the same epoch with uniform negatives.

    python benchmarks/realhns_cost.py                  random tables of the sizes of Amazon Toy and Game
    python benchmarks/realhns_cost.py --data amazon-toy-game --target toy --source game    epochs of sasrec_cdr

Times are seconds of processor time, which other work on the machine moves little; with one thread they are what an idle
machine takes. The number of threads is what OMP_NUM_THREADS says. The first form prices the selection alone, with
all columns hard; the second trains three epochs with uniform negatives and three with all columns hard, in turns, none
of them saved, and gives the ratio of the second ones. On a GPU it gives wall time.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does, before torch is imported

import torch

import negsieve
from negsieve.rng import streams
from negsieve.samplers import named
from negsieve.samplers.columns import Columns
from negsieve.samplers.prior import Remembered
from negsieve.seen import Seen
from negsieve.testing.standin import CrossedTowers
from negsieve.training.watch import Silent
from negsieve.types import Batch


@dataclass(frozen=True)
class Size:
    users: int
    items: int
    positives: int
    p_min: int
    p_max: int
    outliers: float


SIZES = {
    "toy": Size(7160, 37_868, 84_974, 30, 40, 0.1),
    "game": Size(7615, 11_735, 56_614, 10, 20, 0.8),
    "book": Size(28_531, 239_042, 400_000, 30, 40, 0.1),  # its positives are a guess: the paper's data are not public
}
LATE = 30  # an epoch in which all columns are hard


def clocked(act) -> float:
    begun = process_time()
    act()
    return process_time() - begun


class Epochs(Silent):
    """Notes the time at the end of every epoch."""

    def __init__(self, clock) -> None:
        self.clock, self.ends, self.records = clock, [], []

    def epoch(self, record):
        self.ends.append(self.clock())
        self.records.append(record)


def refreshes(sampler: Columns, view: CrossedTowers) -> dict[str, float]:
    """Seconds of every part's refresh, in the order in which a run does them."""
    view, transfer = Remembered(view), sampler.cross.transfer

    def across(batch):
        return transfer.view_of(batch, view(batch))

    own, cross = sampler.general, sampler.cross.inner
    work = {
        "general candidates": (own.source, view),
        "item clusters": (own.stages[0], view),
        "user clusters": (transfer, view),
        "cross-domain candidates": (cross.source, across),
    }
    found = {}
    for name, (part, seen_by) in work.items():
        found[name] = clocked(partial(part.refresh, LATE, seen_by, streams("refresh")))
    return found


def selection(size: Size, *, mode: str, steps: int, rows: int = 1536) -> None:
    """Prices the selection on random tables."""
    rng = streams("tables")
    user, item = (torch.randn(n, 64, generator=rng) for n in (size.users, size.items))
    view = CrossedTowers(user, item, cosine=True, temperature=0.2)
    owner = (torch.arange(size.positives) % size.users).sort().values
    positive = torch.randint(size.items, (size.positives,), generator=rng)
    seen = Seen(owner, positive, n_users=size.users, n_items=size.items)
    band = {"p_min": size.p_min, "p_max": size.p_max, "outliers": size.outliers}
    sampler = named.realhns(size.items, seen=seen, mode=mode, **band)
    uniform = named.uniform(size.items, seen=seen, n_negatives=20)
    seconds = {"before an epoch without hard columns": clocked(lambda: sampler.begin(0, view, streams("b")))}
    sampler.now.copy_(torch.tensor(sampler.plan.counts(LATE)))
    seconds |= refreshes(sampler, view)
    steps = min(steps, size.positives // rows)
    taken = dict.fromkeys(("fine selection and draws", "uniform draws alone"), 0.0)
    for step in range(steps):
        place = torch.arange(step * rows, (step + 1) * rows)
        batch = Batch(owner[place], positive[place], place)
        with torch.no_grad():
            scorer = view(batch)
            for name, one in zip(taken, (sampler, uniform), strict=True):
                taken[name] += clocked(lambda one=one, b=batch, s=scorer: one.sample(b, s, streams("draw")))
    seconds |= {name: value * size.positives / (steps * rows) for name, value in taken.items()}
    for name, value in seconds.items():
        print(f"  {name:38s} {value:7.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  peak memory of the process {peak:.2f} GiB")


def epochs(args: argparse.Namespace) -> None:
    """Epochs of the model with uniform negatives, and with all columns hard."""
    size, found = SIZES[args.target], {}
    band = f"p_min={size.p_min},p_max={size.p_max},outliers={size.outliers}"
    samplers = {
        "uniform": "uniform:n_negatives=20",
        "realhns": f"realhns:curriculum=false,mode={args.mode},{band}{args.more and ','}{args.more}",
    }
    train = {"batch_size": args.rows, "threads": args.threads, "device": args.device, "seed": 1}
    train |= {"checkpoint_seconds": 1e9}
    settings = {
        "data": {"duplicates": "keep", "split": {"method": "loo"}},
        "train": train | {"patience": 0, "validate_every": 99},
        "evaluate": {"metrics": ["ndcg@10"], "test_metrics": []},
    }
    for turn in range(args.rounds):
        for name, sampler in samplers.items():
            seconds, last = second_epoch(args, sampler, settings)
            found.setdefault(name, []).append(seconds)
            if not turn:
                parts = {stage: value for stage, value in last["seconds"].items() if value > 0.01}
                print(f"  {name:10s} wall time by stage {parts}; {last.get('origins', '')}")
    for name, each in found.items():
        print(f"  {name:10s} {median(each):7.2f} s an epoch [{min(each):.2f} to {max(each):.2f}]")
    ratio = [one / other for one, other in zip(found["realhns"], found["uniform"], strict=True)]
    print(f"  ratio {median(ratio):.2f} [{min(ratio):.2f} to {max(ratio):.2f}]")


def second_epoch(args: argparse.Namespace, sampler: str, settings: dict) -> tuple[float, dict]:
    """Seconds of the second of three epochs, and its record."""
    with tempfile.TemporaryDirectory(prefix="negsieve-bench-") as folder:
        watch = Epochs(process_time if args.device == "cpu" else perf_counter)
        negsieve.train(
            args.data,
            model=args.model,
            sampler=sampler,
            loss="bce",
            epochs=3,
            target=args.target,
            source=args.source,
            settings=settings,
            out=Path(folder) / "run",
            watch=watch,
        )
    return watch.ends[1] - watch.ends[0], watch.records[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", choices=SIZES, default=["toy", "game"])
    parser.add_argument("--mode", choices=("auto", "exact", "sampled"), default="auto")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--data", help="a log of several domains: whole epochs instead of random tables")
    parser.add_argument("--target", choices=("toy", "game"), default="toy")
    parser.add_argument("--source", default="game")
    parser.add_argument("--model", default="sasrec_cdr")
    parser.add_argument("--more", default="", help="further settings of realhns, such as candidates=300,fine_max=30")
    parser.add_argument("--rows", type=int, default=1536, help="of a batch: about the positives of 128 users of Toy")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5, help="turns of either sampler, of which medians are quoted")
    args = parser.parse_args()
    if args.data:
        print(f"{args.data}, {args.source} to {args.target}, {args.model}, mode={args.mode}, {args.device}")
        epochs(args)
        return
    for name in args.size:
        print(f"{name}, mode={args.mode}, {torch.get_num_threads()} thread(s)")
        selection(SIZES[name], mode=args.mode, steps=args.steps)


if __name__ == "__main__":
    main()
