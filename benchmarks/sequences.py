"""An epoch of SASRec a position against one padded row a target: ``python benchmarks/sequences.py [--quality]``.

Both train every row of ML-100K's leave-one-out train part that has one before it, with the same weights,
the same loss and the same optimiser, on one thread. The padded loop is what general frameworks do: a target's
last T items as a row of a grid ``[B, T]``, of which the last state is read. It is timed on a few of its batches
and extrapolated. Needs ``NEGSIEVE_DATA`` with a folder ml-100k.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

import negsieve
from negsieve.config import resolve
from negsieve.data.batches import batches
from negsieve.loading import load_data
from negsieve.store.run import Run
from negsieve.training import build
from negsieve.training.trainer import Trainer
from negsieve.training.watch import Stopwatch

T, D, SIZE = 50, 64, 2048
LOSSES = {"bpr, one uniform negative": ("uniform", "bpr"), "softmax over all items": ("none", "full_softmax")}


def settings(sampler: str, loss: str, epochs: int = 1):
    return resolve(
        {
            "data": {"source": "ml-100k", "split": {"method": "loo"}},
            "model": f"sasrec:dim={D},max_len={T},blocks=2,dropout=0.2",
            "sampler": sampler,
            "loss": loss,
            "train": {"epochs": epochs, "batch_size": SIZE, "threads": 1, "device": "cpu", "patience": 0},
        }
    )


class Ours:
    """Our trainer's steps, without its validation."""

    def __init__(self, dataset, sampler: str, loss: str, folder: Path) -> None:
        config = settings(sampler, loss)
        model = build.make_model(config, dataset)
        self.trainer = Trainer(
            model,
            build.make_sampler(sampler, dataset, dim=D, seed=1),
            loss=build.make_loss(build.name_loss(loss, sampler), dataset, seed=1),
            dataset=dataset,
            evaluator=build.make_evaluator(config, dataset),
            run=Run.create(folder, config=config.plain(), env={}),
            config=config.train,
            device=torch.device("cpu"),
        )
        self.trainer.sampler.begin(0, model.frozen(), torch.Generator())
        self.targets = len(self.trainer.groups.row)

    def epoch(self, number: int) -> float:
        begun = time.process_time()
        order = batches(len(self.trainer.user), size=SIZE, seed=1, epoch=number, groups=self.trainer.groups)
        for step, rows in order:
            self.trainer.engine.advance(number, step, [rows], Stopwatch())
        return time.process_time() - begun


class Padded:
    """One row a target, padded to T: the same model by plain torch."""

    def __init__(self, dataset, loss: str) -> None:
        config = settings("uniform", "bpr")
        self.model, self.loss = build.make_model(config, dataset), loss
        histories, place = self.model.histories, torch.arange(len(dataset.rows("train")))
        start = histories.offset[:-1].repeat_interleave(histories.offset.diff())
        target = place[place > start]
        at = target[:, None] - T + torch.arange(T)
        self.history = torch.where(at >= start[target][:, None], histories.item[at.clamp_min(0)], -1)
        self.item, self.n_items = histories.item[target], dataset.n_items
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=1e-3, fused=True)
        self.rng = torch.Generator().manual_seed(0)

    def states(self, history: torch.Tensor) -> torch.Tensor:
        """``Long[B, T]`` -> ``Float[B, D]``."""
        model, drop = self.model, nn.functional.dropout
        real = (history >= 0)[..., None].float()
        x = drop(math.sqrt(D) * model.item[history.clamp_min(0)] + model.encoder.place, 0.2) * real
        hidden = torch.ones(T, T).triu(1).bool() | (real[:, None, :, 0] == 0)
        hidden = torch.zeros(hidden.shape).masked_fill_(hidden, -1e4)  # [B, 1 (query), T] + causal
        for block in model.encoder.blocks:
            weight, bias = block.project.weight, block.project.bias
            q = block.norm(x)
            sides = (q @ weight[:D].T, x @ weight[D : 2 * D].T, x @ weight[2 * D :].T)
            query, key, value = (side + bias[i * D : (i + 1) * D] for i, side in enumerate(sides))
            share = (query @ key.transpose(1, 2) / math.sqrt(D) + hidden).softmax(-1)
            x = block.middle(q + block.merge(drop(share, 0.2) @ value))
            x = (x + drop(block.narrow(drop(block.widen(x), 0.2).relu()), 0.2)) * real
        return model.encoder.last(x[:, -1])

    def batch(self, number: int) -> float:
        begun = time.process_time()
        rows = torch.randint(len(self.item), (SIZE,), generator=self.rng)
        query, item = self.states(self.history[rows]), self.item[rows]
        if self.loss == "bpr":
            other = torch.randint(self.n_items, (SIZE,), generator=self.rng)
            table = self.model.item
            price = nn.functional.softplus((query * (table[other] - table[item])).sum(1)).mean()
        else:
            price = nn.functional.cross_entropy(query @ self.model.item.T, item)
        self.optimiser.zero_grad()
        price.backward()
        self.optimiser.step()
        return time.process_time() - begun


def speed(dataset, pairs: int) -> list[dict]:
    found = []
    for name, (sampler, loss) in LOSSES.items():
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = Ours(dataset, sampler, loss, Path(folder) / "run"), Padded(dataset, loss)
            steps = -(-ours.targets // SIZE)
            ours.epoch(0), theirs.batch(0)
            taken = [(ours.epoch(i + 1), theirs.batch(i + 1) * steps) for i in range(pairs)]
        ratio = [b / a for a, b in taken]
        found.append(
            {
                "loss": name,
                "targets": ours.targets,
                "ours_s": round(statistics.median(a for a, _ in taken), 2),
                "padded_s": round(statistics.median(b for _, b in taken), 1),
                "ratio": round(statistics.median(ratio), 1),
                "ratio_min_max": [round(min(ratio), 1), round(max(ratio), 1)],
            }
        )
    return found


def quality(dataset, epochs: int) -> list[dict]:
    found = []
    for name, (sampler, loss) in LOSSES.items():
        with tempfile.TemporaryDirectory() as folder:
            begun = time.process_time()
            config = settings(sampler, loss, epochs).plain()
            result = negsieve.train(dataset, settings=config, out=Path(folder) / "run")
            spent = time.process_time() - begun
        test = {key: round(value, 4) for key, value in result["metrics"]["test"].items() if key in _SHOWN}
        found.append({"loss": name, "epochs": epochs, "cpu_s": round(spent, 1), **test})
    return found


_SHOWN = ("recall@20", "ndcg@20")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="interleaved measurements of each side")
    parser.add_argument("--quality", type=int, default=0, help="also train for so many epochs and measure")
    given = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_data("ml-100k", config=settings("uniform", "bpr").data)
    for line in speed(dataset, given.pairs) + (quality(dataset, given.quality) if given.quality else []):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
