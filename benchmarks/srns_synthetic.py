"""What SRNS rests on, measured on ML-100K with planted false negatives: high scores, variance, and what it changes.

    python benchmarks/srns_synthetic.py --data FOLDER [--out srns.json] [--seeds 3] [--epochs 8]

FOLDER is ``ml-100k`` in any form that negsieve reads. A sixth of each user's items (rounded up) is hidden from
training: these are the planted false negatives. Another sixth is the test part, the rest trains MF (d 32, Adam
.005, batch 2048, init .1, l2 .01). Nothing plants them in a memory, and nothing bans test items from sampling.

First, at the end of a run, over the vectors of its last five epochs: for each user 8 hidden items and 64 items
that are in no part at all (true negatives, as far as anybody knows), ``P = sigmoid(s_k - s_i)`` against one
training positive. Reported is the chance that a hidden item beats a true negative in P, and the chance that its
standard deviation over the epochs is lower; once for all true negatives, once for the tenth that scores highest
against the hidden items above the same score: SRNS needs the latter above one half.

Second, the share of hidden items among the negatives that training used in its second half, with the weight of
variance at 0 and above, beside smaller memories without it: a sampler that is less hard meets fewer false
negatives for that reason alone. Hardness is the mean percentile of a negative's score among all items.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from negsieve.config import resolve
from negsieve.data.dataset import Dataset
from negsieve.evaluation.evaluator import Evaluator
from negsieve.lab.meter import Meter
from negsieve.rng import streams
from negsieve.samplers import named
from negsieve.samplers.base import Chain, Sampler
from negsieve.samplers.draw import Weighted
from negsieve.samplers.history import HighVariance, Snapshots
from negsieve.store.run import Run
from negsieve.training import build
from negsieve.training.trainer import Trainer
from negsieve.types import Batch

WINDOW, METRIC = 5, "recall_capped@50"


def uniform(n_items: int, *, seen, seed: int) -> Sampler:
    """Uniform negatives, with the history that ``srns`` keeps and without any use of it."""
    stage = HighVariance(Snapshots(seen.n_users, n_items, window=WINDOW), alpha=0)
    return Chain(Weighted(n_items, seen=seen), stage)


def srns(**given) -> Callable[..., Sampler]:
    return lambda n_items, *, seen, seed: named.srns(n_items, seen=seen, seed=seed, window=WINDOW, **given)


ARMS = {
    "uniform": uniform,
    "srns size=8 alpha=0": srns(alpha=0),
    "srns size=8 alpha=1": srns(alpha=1),
    "srns size=8 alpha=5": srns(alpha=5),
    "srns size=4 alpha=0": srns(alpha=0, size=4, extra=32),
    "srns size=2 alpha=0": srns(alpha=0, size=2, extra=16),
}


def train(dataset: Dataset, make: Callable[..., Sampler], *, epochs: int, seed: int) -> Trainer:
    config = resolve(
        {
            "model": "mf:dim=32,init_std=0.1",
            "train": {"lr": 0.005, "batch_size": 2048, "l2": 0.01, "epochs": epochs, "patience": 0, "seed": seed}
            | {"validate_every": epochs, "metric": METRIC, "select_on": "test", "device": "cpu"}
            | {"checkpoint_seconds": 1e9},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            build.make_model(config, dataset),
            make(dataset.n_items, seen=dataset.seen("train"), seed=seed),
            loss=build.make_loss("bpr", dataset),
            dataset=dataset,
            evaluator=Evaluator(dataset, metrics=(METRIC,)),
            run=Run.create(Path(folder) / "run", config=config.plain()),
            config=config.train,
            device=torch.device("cpu"),
        )
        trainer.meter = Meter(dataset.train, dataset.seen("valid"))  # the hidden items alone
        trainer.fit()
        trainer.records = trainer.run.metrics()
    return trainer


def draws(dataset: Dataset, rng: torch.Generator) -> tuple[Batch, Tensor, Tensor]:
    """For each user a training positive, 8 hidden items and 64 that are in no part: ``Long[U, 8]``, ``Long[U, 64]``."""
    user = torch.arange(dataset.n_users)

    def some(part: str, many: int) -> Tensor:
        index = dataset.seen(part)
        lot = (torch.rand(len(user), many, generator=rng) * index.degree()[:, None]).long()
        return index.at(index.offset[user][:, None] + lot)

    every = Weighted(dataset.n_items, seen=dataset.seen("train", "valid", "test", oracle=True), n_negatives=64)
    free = every.sample(Batch(user), None, rng).item
    return Batch(user, some("train", 1)[:, 0]), some("valid", 8), free


def beats(one: Tensor, two: Tensor) -> Tensor:
    """Pairwise ``one [U, n]`` above ``two [U, m]``, ties half: ``[U, n, m]``."""
    gap = one[:, :, None] - two[:, None]
    return (gap > 0).double() + 0.5 * (gap == 0).double()


def findings(trainer: Trainer, history: Snapshots, dataset: Dataset, *, seed: int) -> dict[str, float]:
    batch, hidden, free = draws(dataset, streams("findings", seed=seed))
    item = torch.cat([hidden, free, batch.item[:, None]], dim=1)
    score = history.scores(batch, item, trainer.model.frozen()(batch)).double()  # [t, U, 73]
    above = (score[..., :-1] - score[..., -1:]).sigmoid()
    now, spread = above[-1], above.std(0, unbiased=False)
    false, true, false_spread, true_spread = now[:, :8], now[:, 8:], spread[:, :8], spread[:, 8:]
    edge = true.kthvalue(58, dim=1, keepdim=True).values  # nine tenths of the true ones lie at or below it
    hard = ((false > edge)[:, :, None] & (true > edge)[:, None]).double()
    lower = beats(-false_spread, -true_spread)
    return {
        "false_scores_higher": float(beats(false, true).mean()),
        "false_varies_less": float(lower.mean()),
        "false_varies_less_among_hard": float((lower * hard).sum() / hard.sum()),
        "std_false": float(false_spread.mean()),
        "std_true": float(true_spread.mean()),
        "std_false_among_hard": float(false_spread[false > edge].mean()),
        "std_true_among_hard": float(true_spread[true > edge].mean()),
        "share_of_false_that_is_hard": float((false > edge).double().mean()),
    }


def one_run(dataset: Dataset, arm: str, *, epochs: int, seed: int) -> dict[str, float]:
    trainer = train(dataset, ARMS[arm], epochs=epochs, seed=seed)
    late = trainer.records[epochs // 2 :]
    means = {name: float(np.mean([one[name] for one in late])) for name in ("false_negative_rate", "hardness")}
    history = trainer.sampler.stages[0].history
    test = trainer.records[-1]["test"][METRIC]
    return means | {METRIC: test} | findings(trainer, history, dataset, seed=seed)


def probe():
    """The neighbouring benchmark, whose split this one shares."""
    spec = importlib.util.spec_from_file_location("ml100k_probe", Path(__file__).with_name("ml100k_probe.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=list(ARMS))
    args = parser.parse_args()
    hide = probe().hide
    datasets = [hide(args.data, seed) for seed in range(args.seeds)]
    found, began = {}, time.process_time()
    for arm in args.only or ARMS:
        found[arm] = [one_run(one, arm, epochs=args.epochs, seed=seed) for seed, one in enumerate(datasets)]
        print(f"{arm} ({time.process_time() - began:.0f} s of CPU so far)", flush=True)
        for name in found[arm][0]:
            values = [one[name] for one in found[arm]]
            print(f"  {name:30} {np.mean(values):.4f}  ({', '.join(f'{value:.4f}' for value in values)})")
    if args.out:
        told = {
            "epochs": args.epochs,
            "seeds": args.seeds,
            "cpu_seconds": round(time.process_time() - began),
            "arms": found,
        }
        args.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
