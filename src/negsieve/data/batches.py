"""The order in which rows are visited: a keyed shuffle, had at any step without the ones before."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from negsieve.rng import derive, shuffled

_BLOCK = 1 << 17


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
    gives the same batches as skipping the earlier ones. Memory: a block of places, about 1 MB; cost:
    about 50 passes over each block.
    """
    key = derive("shuffle", epoch, seed=seed)
    steps = n_batches(n, size, drop_last)
    together = max(1, _BLOCK // size)  # steps whose places are shuffled in one go: small tensors cost the most
    for first in range(start, steps, together):
        last = min(first + together, steps)
        block = shuffled(torch.arange(first * size, min(last * size, n)), n, key)
        yield from zip(range(first, last), block.split(size), strict=True)
