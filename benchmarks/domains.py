"""An epoch of the sequence models on Amazon Toy and Game, in CPU seconds: ``python benchmarks/domains.py``.

The published setting of RealHNS: one domain is the target, the other stands beside it; width 64, 2 blocks, 200 places,
20 uniform negatives, binary cross-entropy, Adam with betas .9 and .98, as many rows a step as 128 users have on
average, one thread. ``--padded N`` also times N batches of the plain computation 200 places wide (both encoders, and
the loss on all cells that are targets), and extrapolates. Needs ``NEGSIEVE_DATA`` with a folder amazon-toy-game.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import torch
from torch import nn

from negsieve.config import resolve
from negsieve.data.batches import batches
from negsieve.loading import load_data
from negsieve.store.run import Run
from negsieve.training import build
from negsieve.training.trainer import Trainer
from negsieve.training.watch import Stopwatch
from negsieve.types import Batch

T, D, USERS = 200, 64, 128
ROWS = {"game": 952, "toy": 1519}  # what 128 users have on average
MODELS = {
    "sasrec": f"sasrec:dim={D},max_len={T},windows=last,similarity=cosine,temperature=0.2",
    "sasrec_cdr": f"sasrec_cdr:dim={D},max_len={T}",
    "sasrec_cdr, places attended to": f"sasrec_cdr:dim={D},max_len={T},pad_attention=reference",
    "dasl": f"dasl:dim={D},max_len={T}",
}


def settings(model: str, target: str):
    data = {"source": "amazon-toy-game", "target": target, "source_domains": [{"game": "toy", "toy": "game"}[target]]}
    data |= {"duplicates": "keep", "split": {"method": "loo"}}
    train = {"batch_size": ROWS[target], "threads": 1, "device": "cpu", "betas": [0.9, 0.98]}
    train |= {"lr": "step:0.0005:0.99:1", "patience": 0, "l2": 0}
    return resolve({"data": data, "model": model, "sampler": "uniform:n_negatives=20", "loss": "bce", "train": train})


class Ours:
    """Our trainer's steps, without its validation."""

    def __init__(self, dataset, config, folder: Path) -> None:
        self.size, model = config.train.batch_size, build.make_model(config, dataset)
        self.weights = sum(value.numel() for value in model.parameters())
        self.trainer = Trainer(
            model,
            build.make_sampler(config.sampler, dataset, dim=D, seed=1),
            loss=build.make_loss(config.loss, dataset, seed=1),
            dataset=dataset,
            evaluator=build.make_evaluator(config, dataset),
            run=Run.create(folder, config=config.plain(), env={}),
            config=config.train,
            device=torch.device("cpu"),
        )
        self.trainer.sampler.begin(0, model.frozen(), torch.Generator())
        self.targets = len(self.trainer.groups.row)

    def epoch(self, number: int) -> tuple[float, dict[str, float]]:
        begun, clock = time.process_time(), Stopwatch()
        order = batches(len(self.trainer.user), size=self.size, seed=1, epoch=number, groups=self.trainer.groups)
        for step, rows in order:
            self.trainer.engine.advance(number, step, [rows], clock)
        return time.process_time() - begun, clock.take()

    def prior(self) -> float:
        """CPU seconds of every user's state before the last train row, as selection asks for it once an epoch."""
        begun, user = time.process_time(), self.trainer.user
        last = torch.full((int(user.max()) + 1,), -1).scatter_reduce(0, user, torch.arange(len(user)), "amax")
        self.trainer.model.frozen()(Batch(torch.arange(len(last)), row=last))
        return time.process_time() - begun


class Padded:
    """Both encoders on grids ``[128, 200]`` by plain torch, dropout and all, and the loss of 20 negatives a target."""

    def __init__(self, model, histories, aside) -> None:
        self.model, self.histories, self.aside = model, histories, aside
        self.users = (histories.offset.diff() > 1).nonzero()[:, 0]
        self.optimiser = torch.optim.Adam(model.parameters(), lr=5e-4, betas=(0.9, 0.98), fused=True)
        self.rng = torch.Generator().manual_seed(0)

    @staticmethod
    def right(history: torch.Tensor) -> torch.Tensor:
        """Histories moved to the right end: ``Long[B, T]``."""
        shift = (history < 0).sum(1, keepdim=True)
        return torch.where(torch.arange(T) < shift, -1, history.gather(1, (torch.arange(T) - shift).clamp_min(0)))

    def states(self, tower, history: torch.Tensor) -> torch.Tensor:
        drop, real = nn.functional.dropout, (history >= 0)[..., None].float()
        x = drop(math.sqrt(D) * tower.item[history.clamp_min(0)] + tower.encoder.place, 0.2) * real
        hidden = torch.ones(T, T).triu(1) * -1e4
        for block in tower.encoder.blocks:
            weight, bias = block.project.weight, block.project.bias
            q = block.norm(x)
            sides = [one @ weight[i * D : (i + 1) * D].T for i, one in enumerate((q, x, x))]
            query, key, value = (side + bias[i * D : (i + 1) * D] for i, side in enumerate(sides))
            share = (query @ key.transpose(1, 2) / math.sqrt(D) + hidden).softmax(-1)
            x = block.middle(q + block.merge(drop(share, 0.2) @ value))
            x = (x + drop(block.narrow(drop(block.widen(x), 0.2).relu()), 0.2)) * real
        return tower.encoder.last(x)

    def batch(self) -> float:
        user = self.users[torch.randint(len(self.users), (USERS,), generator=self.rng)]
        whole = self.right(self.histories.latest(user, T))
        elsewhere = self.right(self.aside.source.latest(user, T))
        begun = time.process_time()
        pair = self.model.pair
        target, source = self.states(pair.target, whole), self.states(pair.source, elsewhere)
        query = nn.functional.normalize(self.model.fusion(source, target), dim=-1)  # alignment would only re-order
        table, real = pair.target.item, (whole >= 0).float()
        price = 0.0
        for k in range(21):
            item = whole.clamp_min(0) if not k else torch.randint(len(table), whole.shape, generator=self.rng)
            logit = 5 * (query * nn.functional.normalize(table[item], dim=-1)).sum(-1)
            price = price + (nn.functional.softplus(logit if k else -logit) * real).sum() / (20 if k else 1)
        self.optimiser.zero_grad()
        (price / real.sum()).backward()
        self.optimiser.step()
        return time.process_time() - begun


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--target", choices=sorted(ROWS), default="game")
    words.add_argument("--models", nargs="+", default=list(MODELS))
    words.add_argument("--epochs", type=int, default=3)
    words.add_argument("--padded", type=int, default=0)
    asked = words.parse_args()
    torch.set_num_threads(1)
    dataset, found = None, []
    for name in asked.models:
        config = settings(MODELS[name], asked.target)
        dataset = dataset or load_data(config.data.source, config=config.data)
        with tempfile.TemporaryDirectory() as folder:
            ours = Ours(dataset, config, Path(folder) / "run")
            ours.epoch(0)
            taken, stages = zip(*(ours.epoch(1 + i) for i in range(asked.epochs)), strict=True)
            share = defaultdict(float)
            for one in stages:
                for stage, seconds in one.items():
                    share[stage] += seconds / asked.epochs
            told = {"model": MODELS[name], "weights": ours.weights, "targets": ours.targets}
            told |= {
                "epoch_s": round(statistics.median(taken), 2),
                "min_max_s": [round(min(taken), 2), round(max(taken), 2)],
            }
            told |= {"prior_s": round(ours.prior(), 2), "wall_by_stage_s": {k: round(v, 2) for k, v in share.items()}}
            if asked.padded and name == "sasrec_cdr":
                pair = ours.trainer.model.pair
                padded = Padded(ours.trainer.model, pair.histories, pair.aside)
                padded.batch()
                each = statistics.median(padded.batch() for _ in range(asked.padded))
                told["padded_epoch_s"] = round(each * -(-len(padded.users) // USERS), 1)
            found.append(told)
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
