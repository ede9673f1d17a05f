"""What RealHNS adds to an epoch, part by part, beside the same epoch with uniform negatives.

    python benchmarks/realhns_cost.py                         random tables of the sizes of Amazon Toy and Game
    python benchmarks/realhns_cost.py --data FOLDER --target toy --source game   whole epochs of sasrec_cdr

Times are seconds of one thread unless OMP_NUM_THREADS says otherwise. The first form prices the selection alone; the
second also what the model's own epoch takes, and the ratio.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from time import perf_counter

import torch

from negsieve.rng import streams
from negsieve.samplers import named
from negsieve.samplers.base import Learner
from negsieve.samplers.columns import Columns
from negsieve.samplers.prior import Remembered
from negsieve.samplers.rankband import RankBand
from negsieve.samplers.similar import SimilarTo
from negsieve.samplers.transfer import Transfer
from negsieve.seen import Seen
from negsieve.testing.standin import CrossedTowers
from negsieve.types import Batch


@dataclass(frozen=True)
class Size:
    users: int
    items: int
    positives: int
    p_min: float
    p_max: float
    outliers: float


SIZES = {
    "toy": Size(7160, 37_868, 84_974, 30, 40, 0.1),
    "game": Size(7615, 11_735, 56_614, 10, 20, 0.8),
    "book": Size(28_531, 239_042, 400_000, 30, 40, 0.1),
}
LATE = 30  # an epoch in which all columns are hard


def clocked(act) -> float:
    begun = perf_counter()
    act()
    return perf_counter() - begun


def parts(sampler: Columns, view, epoch: int) -> dict[str, float]:
    """Seconds of every part's refresh, alone, on one memory of the states."""
    view, found = Remembered(view), {}
    named_parts = {id(one): one for one in sampler.modules() if isinstance(one, RankBand | SimilarTo | Transfer)}
    cross = sampler.cross
    for one in named_parts.values():
        seen_by = view
        if cross is not None and one is cross.inner.source:
            seen_by = lambda batch: cross.transfer.view_of(batch, view(batch))  # noqa: E731
        label = type(one).__name__ + (" cross" if seen_by is not view else "")
        found[label] = clocked(lambda one=one, seen_by=seen_by: one.refresh(epoch, seen_by, streams("bench", epoch)))
    return found


def selection(size: Size, *, mode: str, steps: int, batch_size: int = 1536) -> None:
    """Prices the selection on random tables."""
    rng = streams("tables")
    user, item = torch.randn(size.users, 64, generator=rng), torch.randn(size.items, 64, generator=rng)
    view = CrossedTowers(user, item, cosine=True, temperature=0.2)
    owner = torch.arange(size.positives) % size.users
    owner = owner.sort().values
    positive = torch.randint(size.items, (size.positives,), generator=rng)
    seen = Seen(owner, positive, n_users=size.users, n_items=size.items)
    sampler = named.realhns(
        size.items, seen=seen, p_min=size.p_min, p_max=size.p_max, outliers=size.outliers, mode=mode
    )
    uniform = named.uniform(size.items, seen=seen, n_negatives=20)
    print(f"  epoch 0, nothing hard: refresh {clocked(lambda: sampler.begin(0, view, streams('b'))):.3f} s")
    sampler.now.copy_(torch.tensor(sampler.plan.counts(LATE)))
    for name, seconds in parts(sampler, view, LATE).items():
        print(f"  refresh of {name:16s} {seconds:7.2f} s")
    with torch.no_grad():
        begun, base = 0.0, 0.0
        for step in range(steps):
            rows = torch.arange(step * batch_size, (step + 1) * batch_size) % size.positives
            batch = Batch(owner[rows], positive[rows], rows)
            scorer = view(batch)
            begun += clocked(lambda b=batch, s=scorer, i=step: sampler.sample(b, s, streams("draw", i)))
            base += clocked(lambda b=batch, s=scorer, i=step: uniform.sample(b, s, streams("draw", i)))
    scale = size.positives / (steps * batch_size)
    print(f"  fine selection and draws, an epoch {begun * scale:7.2f} s; uniform draws alone {base * scale:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", choices=SIZES, default=["toy", "game"])
    parser.add_argument("--mode", choices=("auto", "exact", "sampled"), default="auto")
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    assert issubclass(Columns, Learner)
    for name in args.size:
        print(f"{name}, mode={args.mode}, {torch.get_num_threads()} thread(s)")
        selection(SIZES[name], mode=args.mode, steps=args.steps)


if __name__ == "__main__":
    main()
