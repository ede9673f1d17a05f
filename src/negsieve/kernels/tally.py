"""What chosen items were: how many of them their users have, how popular, and which came up at all."""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.kernels import native
from negsieve.kernels.membership import Rows, contains_reference


def tally(user: Tensor, item: Tensor, *, rows: Rows | None, count: Tensor, covered: Tensor) -> Tensor:
    """How many of ``item Long[B, K]`` stand in the rows of ``user Long[B]``, and the sum of their counts: ``Long[2]``.

    rows     the users' items; None: nobody has any
    count    ``Long[I]``, such as how often each item was taken
    covered  ``Bool[I]``: the items that came up are marked in it

    Raises IndexError for an item that is not there, or a user without a row. Cost: what ``contains``
    costs, and two random reads an entry; nothing stored.
    """
    if not native.serves(user, item, count, covered):
        return tally_reference(user, item, rows=rows, count=count, covered=covered)
    side = (user.contiguous(), item.contiguous(), None if rows is None else rows.arrays)
    return torch.tensor(native.module().tally(*side, count, covered, native.threads()))


def tally_reference(user: Tensor, item: Tensor, *, rows: Rows | None, count: Tensor, covered: Tensor) -> Tensor:
    """``tally`` in torch, where a negative item counts from the end."""
    covered[item] = True
    popular = count[item].sum()
    if rows is None:
        return torch.stack([torch.zeros_like(popular), popular])
    return torch.stack([contains_reference(user, item, rows=rows).count_nonzero(), popular])
