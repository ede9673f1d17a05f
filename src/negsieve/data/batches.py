"""The order in which rows are visited: a keyed shuffle, had at any step without the ones before."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from negsieve.rng import derive, shuffled


def n_batches(n: int, size: int, drop_last: bool = False) -> int:
    """How many batches of ``size`` an epoch over ``n`` rows has; the last may be smaller, or dropped."""
    if size < 1:
        raise ValueError(f"the batch size is {size}, wanted at least 1")
    return n // size if drop_last else -(-n // size)


def batches(
    n: int, *, size: int, seed: int, epoch: int, start: int = 0, drop_last: bool = False
) -> Iterator[tuple[int, Tensor]]:
    """(step, row places ``Long[b]``) of one epoch over ``n`` rows, from step ``start`` on.

    Each epoch visits every row once, in an order that ``seed`` and ``epoch`` fix; starting late
    gives the same batches as skipping the earlier ones. Cost a batch: about 50 passes over its rows.
    """
    key = derive("shuffle", epoch, seed=seed)
    for step in range(start, n_batches(n, size, drop_last)):
        yield step, shuffled(torch.arange(step * size, min((step + 1) * size, n)), n, key)
