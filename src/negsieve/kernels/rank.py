"""The best k items of every row: of scores that lie in memory, or of dot products that never do.

Ties rank by the lower item number, so a list is a function of the scores alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from negsieve.kernels import native

SAMPLE = 1024  # items from whose scores a first threshold is guessed; a wrong guess costs time, never a place

_NEVER = float("-inf")
_TIED_ROWS = 64  # rows whose boundary ties are settled together: bounds the slow path's memory
_ROWS = 256  # rows that the twin scores together
_LAID = 8192  # items that are laid out together, a multiple of a panel: bounds what beside the panels is held


@dataclass(frozen=True, slots=True)
class Panels:
    """What the kernel reads: the items by descending norm, W of them side by side.

    column  ``Int[n]``: the item of each column
    place   ``Int[I]``: the column of each item, or -1
    panels  ``Float[ceil(n / W), D, W]``: their vectors
    bound   ``Double[ceil(n / W)]``: the greatest norm of each panel
    sample  ``Float[SAMPLE / W, D, W]``: every so-many-th of them; empty where there are not many
    """

    column: Tensor
    place: Tensor
    panels: Tensor
    bound: Tensor
    sample: Tensor


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Items laid out for ranking by dot products; made by ``lay_out``.

    table   ``Float[I, D]``
    item    ``Long[n]``: those that may be ranked, ascending
    panels  for the kernel; None: the twin serves
    """

    table: Tensor
    item: Tensor
    panels: Panels | None = None


def lay_out(table: Tensor, *, allowed: Tensor | None = None) -> Catalogue:
    """Lays the items of ``table Float[I, D]`` out; only those of ``allowed Bool[I]`` are ever ranked.

    Cost: a sort of the norms and a copy of the table. Compiled for single precision on the CPU.
    """
    everything = torch.arange(len(table), device=table.device)
    item = everything if allowed is None else everything[allowed.to(table.device)]
    table = table.detach()
    if not serves(table):
        return Catalogue(table, item)
    norm = torch.cat([torch.linalg.vector_norm(table[some], dim=1, dtype=torch.double) for some in item.split(_LAID)])
    norm, order = norm.sort(descending=True, stable=True)  # NaN sorts as the greatest
    column = item[order]
    place = torch.full((len(table),), -1, dtype=torch.int32)
    place[column] = torch.arange(len(column), dtype=torch.int32)
    chosen = column[:0]
    if len(column) >= 4 * SAMPLE:
        chosen = column[torch.arange(SAMPLE) * len(column) // SAMPLE]
    bound = norm[:: native.module().panel].contiguous()
    return Catalogue(table, item, Panels(column.int(), place, _pack(table, column), bound, _pack(table, chosen)))


def top_dots(
    query: Tensor, catalogue: Catalogue, k: int, *, offset: Tensor, excluded: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The k items with the greatest ``query @ table.T``: ``query Float[B, D]`` -> item ``Long[B, k]``, score, broken.

    offset, excluded  ``Long[B + 1]``, ``Long[m]``: row b never gets ``excluded[offset[b]:offset[b + 1]]``

    Missing places hold item -1, score -inf; an item that scores -inf is never ranked. ``broken Bool[B]``: a score
    of the row that may be ranked is NaN, and its list means nothing. A compiled score is one chain of
    multiply-adds over the width: it does not depend on other rows, on the number of rows or on threads, and may
    differ from torch's product in its last bits. Cost: at most B * n * D multiply-adds, of which items too short to
    reach a row's list are spared (by descending norm, as in LEMP: Teflioudi et al., SIGMOD 2015); no score is
    written but those that may be among the best. Raises ValueError for sizes that disagree and excluded items out
    of range.
    """
    if catalogue.panels is None or not serves(query):
        return top_dots_reference(query, catalogue, k, offset=offset, excluded=excluded)
    one = catalogue.panels
    item, score, broken = _out(query.detach(), k)
    laid = (one.panels, one.sample, one.bound, one.column, one.place)
    sides = (offset.contiguous(), excluded.contiguous())
    native.module().top_dots(query.detach().contiguous(), *laid, *sides, item, score, broken, native.threads())
    return item, score, broken


def top_dots_reference(
    query: Tensor, catalogue: Catalogue, k: int, *, offset: Tensor, excluded: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """``top_dots`` in torch: a block of all scores at a time."""
    column = catalogue.item
    if len(offset) != len(query) + 1 or int(offset[-1]) != len(excluded):
        raise ValueError("top_dots: offset needs a row more than query and must span excluded")
    if len(excluded) and not 0 <= int(excluded.min()) <= int(excluded.max()) < len(catalogue.table):
        raise ValueError("top_dots: excluded holds an item out of range")
    parts = [_out(query[:0].detach(), k)]
    with torch.no_grad():
        for first in range(0, len(query), _ROWS):
            score = query[first : first + _ROWS] @ catalogue.table.T  # [b, I]
            own = offset[first : first + len(score) + 1]
            row = torch.repeat_interleave(torch.arange(len(score), device=query.device), own.diff())
            score[row, excluded[own[0] : own[-1]]] = _NEVER
            item, score, broken = top_rows_reference(score[:, column], k)
            named = column[item.clamp_min(0)] if len(column) else item
            parts.append((torch.where(item < 0, item, named), score, broken))
    return tuple(torch.cat(side) for side in zip(*parts, strict=True))


def top_rows(score: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The k greatest of each row of ``score Float[B, n]``: item ``Long[B, k]``, score ``[B, k]``, broken ``Bool[B]``.

    As ``top_dots``: -inf is never ranked, ties by lower number, -1 and -inf where fewer are left, broken for NaN.
    Cost: one read of the scores. Compiled for single precision on the CPU.
    """
    if not serves(score):
        return top_rows_reference(score, k)
    item, value, broken = _out(score.detach(), k)
    native.module().top_rows(score.detach().contiguous(), item, value, broken, native.threads())
    return item, value, broken


def top_rows_reference(score: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """``top_rows`` in torch. One more place than asked is sorted: only where it ties with the last is the row
    looked at again, exactly."""
    n = score.shape[1]
    inside = min(k, n)
    value, item = score.topk(min(inside + 1, n), dim=1)  # a NaN counts as greatest, so it would show here
    broken = value.isnan().any(1)
    if n > inside:
        tied = (value[:, inside - 1] == value[:, inside]) & (value[:, inside] > _NEVER)
        value, item = value[:, :inside].contiguous(), item[:, :inside].contiguous()
        for rows in tied.nonzero()[:, 0].split(_TIED_ROWS):
            item[rows] = _settle(score[rows], value[rows], item[rows])
    item, order = item.sort(dim=1)
    value, order = value.gather(1, order).sort(dim=1, descending=True, stable=True)
    item = item.gather(1, order).masked_fill(value == _NEVER, -1)
    if inside < k:
        item = torch.nn.functional.pad(item, (0, k - inside), value=-1)
        value = torch.nn.functional.pad(value, (0, k - inside), value=_NEVER)
    return item, value, broken


def _settle(score: Tensor, value: Tensor, item: Tensor) -> Tensor:
    """Replaces the items at the last, tied score by the lowest-numbered ones that have it.

    ``score [t, I]``, ``value`` and ``item [t, k]`` with value descending -> item ``[t, k]``.
    """
    last = value[:, -1:]  # [t, 1]
    free = value == last  # the places that the tied items share  # [t, k]
    row, candidate = (score == last).nonzero(as_tuple=True)  # rows ascend, items ascend inside a row
    count = torch.bincount(row, minlength=len(score))
    place = torch.arange(len(row), device=row.device) - torch.repeat_interleave(count.cumsum(0) - count, count)
    chosen = candidate[place < free.sum(1)[row]]  # as many a row as it has free places
    settled = item.clone()
    settled[free] = chosen
    return settled


def serves(*tensors: Tensor) -> bool:
    """Whether the compiled kernels can rank these: single precision on the CPU, and nobody asks for less."""
    single = all(one.dtype == torch.float32 for one in tensors)
    return single and native.serves(*tensors) and not torch.is_autocast_enabled("cpu")


def _out(like: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    shape = (len(like), k)
    return (
        like.new_empty(shape, dtype=torch.long),
        like.new_empty(shape),
        like.new_empty(len(like), dtype=torch.bool),
    )


def _pack(table: Tensor, item: Tensor) -> Tensor:
    """Rows ``item Long[n]`` of ``table Float[I, D]`` -> ``Float[ceil(n / W), D, W]``, zero beyond the last."""
    wide = native.module().panel
    panels = table.new_empty((-(-len(item) // wide), table.shape[1], wide))
    for some, place in zip(item.split(_LAID), panels.split(_LAID // wide), strict=True):
        native.module().pack_items(table[some], place, native.threads())
    return panels
