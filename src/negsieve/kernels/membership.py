"""Who has what: every user's items as a sorted row, and whether some items stand in some users' rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from negsieve.kernels import native


class Rows(NamedTuple):
    """The items of each user, one row behind the other.

    offset   ``Long[U + 1]``: row u is ``item[offset[u]:offset[u + 1]]``
    item     ``Int[n]`` (32 bits): ascending in each row, without repeats
    n_items  I
    longest  no row is longer
    """

    offset: Tensor
    item: Tensor
    n_items: int
    longest: int


def contains(user: Tensor, item: Tensor, *, rows: Rows) -> Tensor:
    """Whether the items stand in the users' rows: ``user Long[B]``, ``item Long[B|1, M]`` -> ``Bool[B, M]``.

    An item that is none of ``0 .. I - 1`` stands nowhere. Raises IndexError for a user without a row.
    Cost: a binary search of the row an entry; for shared items one pass over the users' rows and a write an entry.
    """
    if not native.serves(user, item, rows.item):
        return contains_reference(user, item, rows=rows)
    out = torch.empty(len(user), item.shape[1], dtype=torch.bool)
    if _shared(user, item):
        shared, side = native.module().contains_shared, (user.contiguous(), item[0].long().contiguous())
        shared(*side, rows.offset, rows.item, rows.n_items, out, native.threads())
    else:
        side = (user.contiguous(), item.long().contiguous())
        native.module().contains(*side, rows.offset, rows.item, out, native.threads())
    return out


def contains_reference(user: Tensor, item: Tensor, *, rows: Rows) -> Tensor:
    """``contains`` in torch."""
    if _shared(user, item):
        return _marked(user, item[0], rows)
    first, last = ends(user, rows)
    first, last = first[:, None].expand_as(item), last[:, None]
    if not len(rows.item):
        return torch.zeros(item.shape, dtype=torch.bool, device=item.device)
    place = partition(first, last, rows.longest, lambda place: rows.item[place] < item)
    return (place < last) & (rows.item[place.clamp(max=len(rows.item) - 1)] == item)


def ends(user: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
    """Where the users' rows begin and end, ``Long[B]`` each."""
    return rows.offset[:-1].index_select(0, user), rows.offset[1:].index_select(0, user)


def partition(low: Tensor, high: Tensor, longest: int, before: Callable[[Tensor], Tensor]) -> Tensor:
    """The first place of each ``low .. high`` where ``before`` no longer holds; ``high`` where it always does.

    ``before(place)`` must hold up to some place and not beyond it. Cost: log2(longest) calls of it.
    """
    low, high = torch.broadcast_tensors(low, high)
    end = high
    for _ in range(longest.bit_length()):
        middle = (low + high) // 2
        ahead = (middle < high) & before(torch.minimum(middle, (end - 1).clamp_min(0)))
        low, high = torch.where(ahead, middle + 1, low), torch.where(ahead, high, middle)
    return low


def pairs(user: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
    """The users' items as ``(place in user Long[n], item Int[n])``."""
    first, last = ends(user, rows)
    degree = last - first
    row = torch.repeat_interleave(torch.arange(len(user), device=user.device), degree)
    start = torch.repeat_interleave(first - (degree.cumsum(0) - degree), degree)
    return row, rows.item[start + torch.arange(len(row), device=user.device)]


def _shared(user: Tensor, item: Tensor) -> bool:
    return len(item) == 1 and len(user) != 1


def _marked(user: Tensor, item: Tensor, rows: Rows) -> Tensor:
    """``user [B]``, ``item [M]`` -> ``Bool[B, M]``, by marking what each user has among the distinct items."""
    distinct, column = torch.unique(item, return_inverse=True)
    row, own = pairs(user, rows)
    found = torch.searchsorted(distinct, own.long()).clamp_(max=max(len(distinct) - 1, 0))
    marked = torch.zeros(len(user), len(distinct), dtype=torch.bool, device=item.device)
    if len(distinct):
        there = distinct[found] == own
        marked[row[there], found[there]] = True
    return marked.index_select(1, column)
