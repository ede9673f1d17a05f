"""Exact draws of items that a user has not seen, each a function of (key, sample, draw).

A draw is tried at most eight times and refused if the user has seen it; then a unit of the unseen weight is
drawn and looked up. Each way alone follows the weights of the unseen items, so their mixture does too: no
draw collides, no law is bent, and a user who has seen nearly everything costs no more than nine draws.

The look-up, for a user's seen items ``a_0 < a_1 < ..``: lay all items end to end, each as long as its
weight, and let ``b_k`` be the unseen weight before ``a_k``. Unit ``r`` of the unseen weight lies behind the
seen items with ``b_k <= r``; adding their weight gives its place on the line. For equal weights this is the
classic ``r + #{k: a_k - k <= r}``.

Draw k reads the words k, k + 2^32, k + 2 * 2^32, .. of its sample (see counter.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from negsieve.kernels import native
from negsieve.kernels.counter import below, starts, word, words
from negsieve.kernels.membership import Rows, contains_reference, ends, partition

ATTEMPTS = 8
_LOW = (1 << 32) - 1


class Weights(NamedTuple):
    """Whole-number weights over the items, ready to be drawn from.

    table  ``Long[I, 2]``: an alias table. Bucket i gives item i below ``table[i, 0]`` of 2^63, else ``table[i, 1]``
    edge   ``Long[I]``: the weight of each item and all before it
    held   ``Long[n + 1]``: the weight of all pairs of the rows before each pair
    """

    table: Tensor
    edge: Tensor
    held: Tensor


def draw_even(key: int, sample: Tensor, *, user: Tensor, rows: Rows, n: int) -> Tensor:
    """``n`` draws for each sample, even over the items that its user has not seen: ``Long[B, n]``.

    sample  ``Long[B]``: the numbers that the draws depend on, with ``key`` and the user's row alone
    user    ``Long[B]``: whose row of ``rows`` to keep out

    A user who has seen everything gets item 0, which the caller masks. Cost: a word and a read of the
    sieve a draw, and a binary search of the row where it passes. Raises IndexError for a user without a row.
    """
    if not native.serves(sample, user, rows.item):
        return draw_even_reference(key, sample, user=user, rows=rows, n=n)
    out = torch.empty(len(user), n, dtype=torch.long)
    side = (sample.contiguous(), user.contiguous(), rows.arrays)
    native.module().draw_even(key % 2**64, *side, rows.n_items, out, native.threads())
    return out


def draw_even_reference(key: int, sample: Tensor, *, user: Tensor, rows: Rows, n: int) -> Tensor:
    """``draw_even`` in torch."""
    proposed, settled = partial(below, n=rows.n_items), partial(settle_even, rows=rows)
    return _draw(key, sample, user, rows, n, proposed, settled)


def settle_even(bits: Tensor, user: Tensor, *, rows: Rows) -> Tensor:
    """The unseen items that random words look up, ``Long[m]``: 0 for a user who has seen everything."""
    first, last = ends(user, rows)
    free = rows.n_items - (last - first)
    r = below(bits, free.clamp_min(0))
    place = partition(first, last, rows.longest, lambda place: rows.item[place] - (place - first) <= r)
    return torch.where(free > 0, r + (place - first), 0)


def draw_weighted(key: int, sample: Tensor, *, user: Tensor, rows: Rows, weights: Weights, n: int) -> Tensor:
    """``draw_even`` by weight: ``n`` draws for each sample, of the items that its user has not seen: ``Long[B, n]``.

    A user who has seen all weight gets item 0, which the caller masks. An item without weight is never drawn.
    """
    if not native.serves(sample, user, rows.item, weights.table):
        return draw_weighted_reference(key, sample, user=user, rows=rows, weights=weights, n=n)
    out = torch.empty(len(user), n, dtype=torch.long)
    side = (sample.contiguous(), user.contiguous(), rows.arrays)
    native.module().draw_weighted(key % 2**64, *side, *weights, out, native.threads())
    return out


def draw_weighted_reference(key: int, sample: Tensor, *, user: Tensor, rows: Rows, weights: Weights, n: int) -> Tensor:
    """``draw_weighted`` in torch."""
    proposed, settled = partial(propose, table=weights.table), partial(settle_weighted, rows=rows, weights=weights)
    return _draw(key, sample, user, rows, n, proposed, settled)


def settle_weighted(bits: Tensor, user: Tensor, *, rows: Rows, weights: Weights) -> Tensor:
    """``settle_even`` by weight."""
    before = torch.cat([weights.edge.new_zeros(1), weights.edge])  # [I + 1]
    first, last = ends(user, rows)
    own = weights.held[first]
    free = before[-1] - (weights.held[last] - own)
    r = below(bits, free.clamp_min(0))
    place = partition(
        first, last, rows.longest, lambda place: before[rows.item[place]] - (weights.held[place] - own) <= r
    )
    item = torch.searchsorted(weights.edge, r + weights.held[place] - own, right=True)
    return torch.where(free > 0, item.clamp(max=rows.n_items - 1), 0)


def propose(bits: Tensor, table: Tensor) -> Tensor:
    """The items that random words give under an alias table, whatever anybody has seen.

    The upper half of ``bits * I``, 128 bits wide, is the bucket, the lower half the place in it.
    """
    n_items = len(table)
    low = (bits & _LOW) * n_items
    high = ((bits >> 32) & _LOW) * n_items + (low >> 32)
    bucket = high >> 32
    place = ((high & _LOW) << 31) | ((low & _LOW) >> 1)
    own, other = table[:, 0][bucket], table[:, 1][bucket]
    return torch.where(place < own, bucket, other)


def _draw(
    key: int,
    sample: Tensor,
    user: Tensor,
    rows: Rows,
    n: int,
    proposed: Callable[[Tensor], Tensor],
    settle: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """The attempts, and what settles the draws that all of them refused."""
    item = proposed(words(key, sample, n))  # [B, n]
    row, draw = contains_reference(user, item.expand(len(user), -1), rows=rows).nonzero(as_tuple=True)
    for attempt in range(1, ATTEMPTS + 1):
        if not len(row):
            break
        bits = word(starts(key, sample[row]), draw + (attempt << 32))
        if attempt == ATTEMPTS:
            item[row, draw] = settle(bits, user[row])
            break
        item[row, draw] = again = proposed(bits)
        open_ = contains_reference(user[row], again[:, None], rows=rows)[:, 0]
        row, draw = row[open_], draw[open_]
    return item
