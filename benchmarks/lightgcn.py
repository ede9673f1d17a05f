"""Times graph products and LightGCN's training step: compiled, by our autograd, and as LightGCN's codes do it.

    python benchmarks/lightgcn.py interactions.parquet            # CPU milliseconds, one thread
    python benchmarks/lightgcn.py interactions.parquet --threads 2 --steps 12

"plain" is the step of LightGCN-PyTorch and RecBole: a COO adjacency, autograd through ``torch.sparse.mm``, torch's
default Adam over dense gradients; negatives without any exclusion, which flatters it. With DNS it propagates once for
the candidates and once for the loss, as RecBole's dynamic sampler does. All ways take turns, step by step; figures
are medians of process CPU time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import torch

from negsieve.config import DataConfig, RunConfig, resolve
from negsieve.data.batches import batches
from negsieve.data.dataset import Dataset
from negsieve.kernels import graph as graphs
from negsieve.kernels import native
from negsieve.lab.meter import Meter
from negsieve.loading import load_data
from negsieve.training import build
from negsieve.training.compiled_graph import CompiledLightGCN
from negsieve.training.engine import Engine, TorchEngine
from negsieve.training.watch import Stopwatch

SAMPLERS = {"uniform": 0, "dns:candidates=16": 16}


def main() -> None:
    """Prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="interactions with a train part, as negsieve reads them")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--no-plain", action="store_true", help="leave the slow plain step out")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    dataset = load_data(given.data, config=DataConfig())
    steps = -(-len(dataset.pairs("train")[0]) // given.batch_size)
    print(f"{dataset.n_users} users, {dataset.n_items} items, {len(dataset.train)} train pairs, {steps} steps an epoch")
    print(f"kernels {native.name() or 'none'}, {given.threads} thread(s), torch {torch.__version__}")
    products(dataset, given.steps)
    for sampler, candidates in SAMPLERS.items():
        ways: dict[str, Iterator] = {}
        if not given.no_plain:
            ways["plain (COO, autograd)"] = plain(dataset, given.batch_size, candidates)
        for name, kind, precision in (
            ("ours, engine torch", TorchEngine, "fp32"),
            ("ours, compiled fp32", CompiledLightGCN, "fp32"),
            ("ours, compiled bf16", CompiledLightGCN, "bf16"),
        ):
            ways[name] = own(dataset, settings(sampler, given.batch_size, precision), kind)
        table(f"a training step, {sampler}", {name: way.__next__ for name, way in ways.items()}, given.steps, steps)


def settings(sampler: str, batch_size: int, precision: str) -> RunConfig:
    """LightGCN with three layers of width 64 and Adam."""
    train = {"batch_size": batch_size, "lr": 1e-3, "l2": 1e-4, "precision": precision, "device": "cpu"}
    return resolve({"model": "lightgcn", "sampler": sampler, "loss": "bpr", "train": train})


def products(dataset: Dataset, times: int) -> None:
    """The normalised adjacency times 64 columns."""
    model = build.make_model(settings("uniform", 1, "fp32"), dataset)
    coo, x = model.adjacency.to_sparse_coo().coalesce(), torch.cat([model.user, model.item]).detach()
    states = {
        dtype: graphs.new_states(model.graph, 64, hops=2, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)
    }
    for one in states.values():
        graphs.begin_states(model.graph, (model.user, model.item), one)
    ways = {
        "torch.sparse.mm, COO": lambda: torch.sparse.mm(coo, x),
        "torch, CSR int32": lambda: graphs.multiply_reference(model.graph, x),
        "ours, x to x": lambda: graphs.multiply(model.graph, x),
        "ours, states fp32": lambda: graphs.propagate(model.graph, states[torch.float32]),
        "ours, states bf16": lambda: graphs.propagate(model.graph, states[torch.bfloat16]),
    }
    table("a product", ways, times)


def own(dataset: Dataset, config: RunConfig, kind: type[Engine]) -> Iterator[None]:
    """Steps of an engine."""
    model = build.make_model(config, dataset)
    sampler = build.make_sampler(config.sampler, dataset, dim=model.dim)
    user, item = dataset.pairs("train")
    engine = kind(
        model,
        sampler,
        build.make_loss(config.loss, dataset),
        user=user,
        item=item,
        meter=Meter(dataset.train, dataset.seen("valid", "test")),
        config=config.train,
        beside=torch.nn.ModuleDict(),
        sampler_name=config.sampler,
    )
    for epoch in range(1000):
        for step, rows in batches(len(user), size=config.train.batch_size, seed=0, epoch=epoch):
            engine.advance(epoch, step, [rows], Stopwatch())
            yield


def plain(dataset: Dataset, batch_size: int, candidates: int) -> Iterator[None]:
    """Steps as LightGCN's codes take them."""
    model = build.make_model(settings("uniform", 1, "fp32"), dataset)
    coo = model.adjacency.to_sparse_coo().coalesce()
    user, item = dataset.pairs("train")
    optimiser, rng = torch.optim.Adam(model.parameters(), lr=1e-3), torch.Generator().manual_seed(0)

    def pooled() -> tuple[torch.Tensor, torch.Tensor]:
        layers = [torch.cat([model.user, model.item])]
        for _ in range(model.hops):
            layers.append(torch.sparse.mm(coo, layers[-1]))
        return torch.stack(layers, dim=1).mean(dim=1).split([dataset.n_users, dataset.n_items])

    while True:
        rows = torch.randint(len(user), (batch_size,), generator=rng)
        u, i = user[rows], item[rows]
        j = torch.randint(dataset.n_items, (batch_size, max(1, candidates)), generator=rng)
        if candidates:
            with torch.no_grad():
                users, items = pooled()
                place = (users[u][:, None] * items[j]).sum(2).argmax(1, keepdim=True)
                j = j.gather(1, place)
        users, items = pooled()
        gap = (users[u] * items[i]).sum(1) - (users[u] * items[j[:, 0]]).sum(1)
        norm = model.user[u].square().sum() + model.item[i].square().sum() + model.item[j[:, 0]].square().sum()
        loss = -torch.nn.functional.logsigmoid(gap).mean() + 1e-4 * norm / 2 / batch_size
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        yield


def table(title: str, ways: dict[str, Callable], times: int, steps: int | None = None) -> None:
    """Runs all ways in turn and prints the median of each, and how much longer the first takes."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(times + 1):
        for name, call in ways.items():
            begun = time.process_time()
            call()
            if turn:  # the first warms up
                taken[name].append(1e3 * (time.process_time() - begun))
    first = statistics.median(next(iter(taken.values())))
    print(f"\n{title:<34} {'ms':>8} {'min':>8} {'ratio':>7}" + (f" {'s/epoch':>9}" if steps else ""))
    for name, one in taken.items():
        middle = statistics.median(one)
        line = f"  {name:<32} {middle:8.2f} {min(one):8.2f} {first / middle:7.2f}"
        print(line + (f" {middle * steps / 1e3:9.1f}" if steps else ""))


if __name__ == "__main__":
    main()
