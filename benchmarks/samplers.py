"""What every sampler costs on Gowalla: milliseconds per 1,000 positives, seconds an epoch, bytes of memory.

    python benchmarks/samplers.py --data FOLDER/gowalla [--only dns srns] [--threads 1] [--out results.json]

MF of width 64 (LightGCN of 1 layer for methods that mix layers), batch 2048, fp32. ``sample`` is drawing and
selecting alone; ``step`` is a whole training step of the method with its own loss: forward, sample, loss,
backward, fused Adam, what the method learns. CPU seconds, medians over ``--steps`` steps after three. ``refresh``
is the work before an epoch, once, with a model fresh from its initialisation.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

import negsieve
from negsieve.data.batches import batches
from negsieve.errors import CapabilityError
from negsieve.models.named import build_model
from negsieve.rng import streams
from negsieve.samplers.named import METHODS, default_loss
from negsieve.training.build import make_loss, make_sampler, refuse_unserved
from negsieve.training.step import forward
from negsieve.types import Batch

MODELS = ("mf:dim=64", "lightgcn:dim=64,layers=1")
BATCH = 2048


def fitting(name: str, dataset):
    """The first of MODELS that serves a method, and its sampler."""
    for text in MODELS:
        model = build_model(text, n_users=dataset.n_users, n_items=dataset.n_items, train=dataset.train, seed=0)
        sampler = make_sampler(name, dataset, dim=model.dim)
        user, item = (side[:2] for side in dataset.pairs("train"))
        try:
            refuse_unserved(sampler, model.encode(Batch(user, item)), sampler_name=name, model=text)
        except CapabilityError:
            continue
        return text, model, sampler
    raise SystemExit(f"no model here serves {name}")


def measure(name: str, dataset, steps: int) -> dict:
    """Timings and bytes of one method."""
    text, model, sampler = fitting(name, dataset)
    loss = make_loss(default_loss(name, {}), dataset)
    trained = [*model.parameters(), *sampler.parameters(), *loss.parameters()]
    optimiser = torch.optim.Adam(trained, lr=1e-3, fused=True)
    begun = time.process_time()
    sampler.begin(0, model.frozen(), streams("refresh"))
    refresh = time.process_time() - begun
    user, item = dataset.pairs("train")
    drawn, whole = [], []
    for step, rows in batches(len(user), size=BATCH, seed=0, epoch=0):
        if step == steps + 3:
            break
        batch, laps = Batch(user[rows], item[rows], rows), {}
        begun = last = time.process_time()

        def lap(stage: str) -> None:
            nonlocal last
            now = time.process_time()
            laps[stage], last = now - last, now  # noqa: B023 - read in this turn of the loop only

        outcome = forward(model, sampler, loss, batch, streams("draw", step), lap=lap)
        optimiser.zero_grad()
        outcome.total(l2=1e-4).backward()
        optimiser.step()
        with torch.no_grad():
            evidence = sampler.observe(batch, outcome.negatives, outcome.scorer, outcome.loss, streams("seen", step))
        if evidence is not None:
            sampler.learn([evidence])
        if step >= 3:
            drawn.append(laps["sample"])
            whole.append(time.process_time() - begun)
    memory = sum(value.nbytes for value in sampler.state_dict().values())
    index = sum(value.nbytes for value in sampler.buffers()) - sum(
        value.nbytes for key, value in sampler.state_dict().items() if key in dict(sampler.named_buffers())
    )
    return {
        "model": text,
        "loss": default_loss(name, {}),
        "sample_ms": statistics.median(drawn) * 1e6 / BATCH,
        "step_ms": statistics.median(whole) * 1e6 / BATCH,
        "refresh_s": refresh,
        "memory_mb": memory / 2**20,
        "index_mb": index / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dataset = negsieve.load_data(args.data)
    found = {}
    print("| method | model | sample, ms / 1,000 | step, ms / 1,000 | refresh, s | memory, MB | index, MB |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for name in METHODS if args.only is None else args.only:
        if name in ("explicit", "none", "realhns"):
            continue  # Gowalla has no explicit negatives and one domain, and what none costs is its loss
        one = found[name] = measure(name, dataset, args.steps)
        print(
            f"| {name} | {one['model'].partition(':')[0]} | {one['sample_ms']:.2f} | {one['step_ms']:.1f} | "
            f"{one['refresh_s']:.2f} | {one['memory_mb']:.1f} | {one['index_mb']:.1f} |",
            flush=True,
        )
    if args.out:
        args.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
