"""The hardest of some candidates. Of equal scores the one drawn first is the harder, on every path.

A score that is no number stands above all, as torch has it: it is chosen, the loss is none, and the run stops.
"""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.kernels import native
from negsieve.kernels.draw import draw_even_reference
from negsieve.kernels.membership import Rows
from negsieve.kernels.score import score_candidates_reference, serves


def highest(score: Tensor, m: int) -> Tensor:
    """Where each row's ``m`` highest scores stand, highest first: ``Float[B, M]`` -> ``Long[B, m]``.

    Cost: one pass for m = 1; beyond that scores are counted into bins, where these tell them apart, and sorted as far
    as m where not. Raises ValueError unless ``1 <= m <= M``.
    """
    if not 1 <= m <= score.shape[1]:
        raise ValueError(f"the {m} highest of {score.shape[1]} scores: choose 1 or more, and no more than there are")
    if m == 1 or score.dtype != torch.float32 or not native.serves(score):
        return highest_reference(score, m)
    place = score.new_empty((len(score), m), dtype=torch.long)
    native.module().highest(score.detach().contiguous(), place, native.threads())
    return place


def highest_reference(score: Tensor, m: int) -> Tensor:
    """``highest`` in torch: a stable sort, because its ``topk`` settles ties as it likes."""
    if m == 1:
        return score.argmax(dim=1, keepdim=True)
    return score.sort(dim=1, descending=True, stable=True).indices[:, :m]


def hardest(
    key: int,
    sample: Tensor,
    *,
    user: Tensor,
    query: Tensor,
    table: Tensor,
    rows: Rows,
    candidates: int,
    m: int,
    cosine: bool = False,
) -> Tensor:
    """The ``m`` highest-scored of some even draws from what each user has not seen, hardest first: ``Long[B, m]``.

    sample        ``Long[B]``: what the draws depend on beside ``key``, as in ``draw_even``
    user          ``Long[B]``: whose row of ``rows`` to keep out
    query, table  ``Float[B, D]`` and ``Float[I, D]``, rated as by ``score_candidates``
    candidates    how many are drawn a row

    A user who has seen everything gets item 0, which the caller masks. Cost: a draw, a gathered row and a dot
    product a candidate; nothing of width ``[B, candidates]`` is stored. Raises IndexError for a user without a row.
    """
    if not (native.serves(sample, rows.item) and serves(query, table, user)):
        shown = {"user": user, "query": query, "table": table, "rows": rows}
        return hardest_reference(key, sample, candidates=candidates, m=m, cosine=cosine, **shown)
    out = torch.empty(len(user), m, dtype=torch.long)
    side = (query.detach().contiguous(), table.detach(), rows.arrays)
    draws = (key % 2**64, sample.contiguous(), user.contiguous())
    native.module().hardest(*draws, *side, candidates, cosine, out, native.threads())
    return out


def hardest_reference(
    key: int,
    sample: Tensor,
    *,
    user: Tensor,
    query: Tensor,
    table: Tensor,
    rows: Rows,
    candidates: int,
    m: int,
    cosine: bool = False,
) -> Tensor:
    """``hardest`` in torch, by parts: draw, rate, choose."""
    item = draw_even_reference(key, sample, user=user, rows=rows, n=candidates)
    with torch.no_grad():
        score = score_candidates_reference(query, table, item, cosine=cosine)
    return item.gather(1, highest_reference(score, m))
