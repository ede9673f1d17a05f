"""The order in which rows are visited: a keyed shuffle, had at any step without the ones before.

Rows stand alone, or come in groups that share their forward pass, as the positions of a sequence do.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from negsieve.rng import derive, shuffled
from negsieve.types import Groups

_BLOCK = 1 << 17


def n_batches(n: int, size: int, drop_last: bool = False, *, groups: Groups | None = None) -> int:
    """How many batches of ``size`` an epoch over ``n`` rows has; the last may be smaller, or dropped.

    Whole ``groups`` make batches of about equal size instead, none smaller than the longest group.
    """
    if size < 1:
        raise ValueError(f"the batch size is {size}, wanted at least 1")
    if groups is None:
        return n // size if drop_last else -(-n // size)
    longest = int(groups.offset.diff().max()) if len(groups) else 1
    return min(-(-len(groups.row) // size), len(groups.row) // longest)


def batches(
    n: int,
    *,
    size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    drop_last: bool = False,
    groups: Groups | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """(step, row places ``Long[b]``) of one epoch over ``n`` rows, from step ``start`` on.

    Each epoch visits every row once, in an order that ``seed`` and ``epoch`` fix; starting late
    gives the same batches as skipping the earlier ones. Memory: a block of places, about 1 MB; cost:
    about 50 passes over each block.

    ``groups`` are visited whole, in a shuffled order of their own, and rows in no group not at all;
    ``drop_last`` then drops nothing, because no batch is small. Memory: 32 bytes a group.
    """
    key = derive("shuffle", epoch, seed=seed)
    if groups is not None:
        yield from _grouped(groups, n_batches(n, size, groups=groups), key, start)
        return
    steps = n_batches(n, size, drop_last)
    together = max(1, _BLOCK // size)  # steps whose places are shuffled in one go: small tensors cost the most
    for first in range(start, steps, together):
        last = min(first + together, steps)
        block = shuffled(torch.arange(first * size, min(last * size, n)), n, key)
        yield from zip(range(first, last), block.split(size), strict=True)


def _grouped(groups: Groups, steps: int, key: int, start: int) -> Iterator[tuple[int, Tensor]]:
    """A group belongs to the step in which its middle falls when the epoch is cut into equal lengths.

    No step is empty, because the middles of neighbours lie no further apart than the longest group.
    """
    order = shuffled(torch.arange(len(groups)), len(groups), key)
    length = groups.offset.diff()[order]
    middle = 2 * length.cumsum(0) - length  # twice the middle, which may lie between two rows
    step = torch.div(middle * steps, 2 * len(groups.row), rounding_mode="floor")
    bound = torch.searchsorted(step, torch.arange(steps + 1))
    for at in range(start, steps):
        own = slice(bound[at], bound[at + 1])
        many = length[own]
        first = torch.repeat_interleave(groups.offset[order[own]] - (many.cumsum(0) - many), many)
        yield at, groups.row[first + torch.arange(len(first))]
