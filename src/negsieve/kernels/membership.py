"""Who has what: every user's items as a sorted row, and whether some items stand in some users' rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from negsieve.kernels import native


class Sieve(NamedTuple):
    """A few bits for each item of a user: what the user has passes, of what the user has not about one in thirty does.

    head  ``Long[U]``: 64 times the place of the user's first word, plus log2 of how many bits the user has
    word  ``Long[W]``: the bits, 8 to 16 a pair and 64 a user or more, two of one word set for each item
    """

    head: Tensor
    word: Tensor


@dataclass(frozen=True)
class Rows:
    """The items of each user, one row behind the other.

    offset   ``Long[U + 1]``: row u is ``item[offset[u]:offset[u + 1]]``
    item     ``Int[n]`` (32 bits): ascending in each row, without repeats
    n_items  I
    longest  no row is longer
    sieve    of the same rows: kernels ask it before they search, and answer the same
    """

    offset: Tensor
    item: Tensor
    n_items: int
    longest: int
    sieve: Sieve | None = None

    @property
    def arrays(self):
        """As kernels take them; kept, because telling takes as long as a kernel on a few hundred rows.

        Told anew where the memory moved: torch moves a tensor's memory in place to share it with other processes.
        """
        tensors = (self.offset, self.item, *(self.sieve or (None, None)))
        place = [one if one is None else one.data_ptr() for one in tensors]
        known, told = vars(self).get("_told", (None, None))
        if known != place:
            told = native.module().SeenArrays(*tensors)
            vars(self)["_told"] = place, told
        return told

    def __getstate__(self):
        return {name: one for name, one in vars(self).items() if name != "_told"}  # which no copy can share


def contains(user: Tensor, item: Tensor, *, rows: Rows) -> Tensor:
    """Whether the items stand in the users' rows: ``user Long[B]``, ``item Long[B|1, M]`` -> ``Bool[B, M]``.

    An item that is none of ``0 .. I - 1`` stands nowhere. Raises IndexError for a user without a row.
    Cost: a read of the sieve an entry and a binary search of the row where it passes, or always where there is no
    sieve; for shared items one pass over the users' rows and a write an entry.
    """
    if not native.serves(user, item, rows.item):
        return contains_reference(user, item, rows=rows)
    out = torch.empty(len(user), item.shape[1], dtype=torch.bool)
    if _shared(user, item):
        shared, side = native.module().contains_shared, (user.contiguous(), item[0].long().contiguous())
        shared(*side, rows.arrays, rows.n_items, out, native.threads())
    else:
        side = (user.contiguous(), item.long().contiguous())
        native.module().contains(*side, rows.arrays, out, native.threads())
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


def sieve_of(rows: Rows) -> Sieve | None:
    """The sieve of some rows on the CPU; None where no kernel would ask it. Cost: a random write a pair."""
    if len(rows.offset) == 1 or not native.serves(rows.offset, rows.item):
        return None
    most = 8 * rows.offset.diff().clamp(8, 1 << 28)
    log = torch.frexp((most - 1).double()).exponent.long()  # bits, rounded up to a power of two
    words = (1 << log) >> 6
    last = words.cumsum(0)
    sieve = Sieve((last - words) * 64 + log, torch.zeros(int(words.sum()), dtype=torch.long))
    native.module().sift(replace(rows, sieve=sieve).arrays, sieve.word)
    return sieve


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
