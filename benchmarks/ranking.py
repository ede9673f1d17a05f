"""What full ranking costs on Gowalla: the compiled kernels beside torch, in turns, CPU seconds of one thread.

    python benchmarks/ranking.py --data FOLDER/gowalla [--users 7500] [--pairs 5] [--threads 2]

Vectors of width 64 from a singular value decomposition of the train matrix, train items masked, all items ranked.
``--threads 2`` compares our own wall time at one and at that many threads instead; it wants an idle machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from unittest import mock

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import svds
from torch import Tensor

import negsieve
from negsieve.evaluation.metrics import accuracies, hits, parse_metrics
from negsieve.evaluation.rank import CHUNK, TopK, top_k
from negsieve.kernels import metrics as metrics_kernel
from negsieve.kernels import native
from negsieve.kernels import rank as rank_kernel
from negsieve.scorers import Dot, Towers
from negsieve.types import Batch

METRICS = parse_metrics("recall@20,ndcg@20,recall@50,ndcg@50")


class Plain(Dot):
    """A dot product that the compiled ranking does not know: all scores of a chunk are made, then sorted."""


def towers(dataset) -> Towers:
    """Vectors whose products are the best approximation of rank 64 of the normalised train matrix."""
    user, item = (side.numpy() for side in dataset.pairs("train"))
    matrix = sp.csr_matrix((np.ones(len(user), dtype=np.float32), (user, item)), (dataset.n_users, dataset.n_items))
    scale = [sp.diags(1 / np.sqrt(np.maximum(np.asarray(matrix.sum(axis)).ravel(), 1))) for axis in (1, 0)]
    left, value, right = svds((scale[0] @ matrix @ scale[1]).astype(np.float32).tocsr(), 64, random_state=0)
    sides = (left * np.sqrt(value), right.T * np.sqrt(value))
    return Towers(*(torch.from_numpy(np.ascontiguousarray(side, dtype=np.float32)) for side in sides))


def evaluate(encoder, dataset, users: Tensor, *, rank=None) -> float:
    """Recall and NDCG at 20 and 50 of some users; returns the first."""
    how = {"n_items": dataset.n_items, "mask": (dataset.train,)}
    top = top_k(encoder, users, 50, **how) if rank is None else rank(users, 50)
    found = accuracies(METRICS, hits(top, users, dataset.test), dataset.test.degree(users))
    return float(found[METRICS[0]].nanmean())


def sides(encoder: Towers, dataset, users: Tensor) -> dict[str, dict]:
    """The jobs, each with the callables that do it; ours first."""
    how = {"n_items": dataset.n_items, "mask": (dataset.train,)}

    def plain(batch: Batch) -> Plain:
        return Plain(encoder.user[batch.user], encoder.item)

    def by_torch(users: Tensor, k: int) -> TopK:
        lists = []
        for user in users.split(CHUNK):
            score = encoder.user[user] @ encoder.item.T
            row, item = dataset.train.of(user)
            score[row, item] = float("-inf")
            lists.append(score.topk(k, dim=1))
        return TopK(torch.cat([one.indices for one in lists]), torch.cat([one.values for one in lists]))

    def twin(function):
        def run():
            with (
                mock.patch.object(rank_kernel, "top_rows", rank_kernel.top_rows_reference),
                mock.patch.object(metrics_kernel.native, "serves", lambda *_: False),
            ):
                return function()

        return run

    return {
        "evaluate @20, @50": {
            "ours": lambda: evaluate(encoder, dataset, users),
            "all scores, compiled selection": lambda: evaluate(plain, dataset, users),
            "all scores, torch twins": twin(lambda: evaluate(plain, dataset, users)),
            "torch mm + topk": lambda: evaluate(encoder, dataset, users, rank=by_torch),
        },
        "top 1000": {
            "ours": lambda: top_k(encoder, users, 1000, **how),
            "torch mm + topk": lambda: by_torch(users, 1000),
        },
    }


def seconds(function, clock) -> float:
    begun = clock()
    function()
    return clock() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--users", type=int, default=7500, help="how many users, evenly spread; figures are for all")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    settings = parser.parse_args()
    torch.set_num_threads(1)
    dataset = negsieve.load_data(str(settings.data))
    encoder = towers(dataset)
    step = max(1, dataset.n_users // settings.users)
    users = torch.arange(0, dataset.n_users, step)
    scale = dataset.n_users / len(users)
    print(f"{len(users)} of {dataset.n_users} users, {dataset.n_items} items, kernels: {native.name()}")
    for job, doers in sides(encoder, dataset, users).items():
        if settings.threads > 1:
            doers = {f"{n} threads": doers["ours"] for n in (1, settings.threads)}
        taken: dict[str, list[float]] = {name: [] for name in doers}
        for _ in range(settings.pairs + 1):
            for place, (name, function) in enumerate(doers.items()):
                torch.set_num_threads(settings.threads if settings.threads > 1 and place else 1)
                clock = time.perf_counter if settings.threads > 1 else time.process_time
                taken[name].append(seconds(function, clock) * scale)
        first = next(iter(taken))
        for name, every in taken.items():
            ratio = [own / ours for own, ours in zip(every[1:], taken[first][1:], strict=True)]
            spread = f"{statistics.median(ratio):.2f}x ({min(ratio):.2f} to {max(ratio):.2f})"
            print(f"{job:20} {name:32} {statistics.median(every[1:]):7.2f} s  {spread}")


if __name__ == "__main__":
    main()
