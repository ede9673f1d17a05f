"""Which of a user's candidates hold given ranks, by score, among those that are not too like something."""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.kernels import native
from negsieve.kernels.hardest import highest_reference
from negsieve.kernels.score import score_candidates_reference, serves


def at_ranks(
    rank: Tensor,
    *,
    user: Tensor,
    candidate: Tensor,
    query: Tensor,
    table: Tensor,
    cosine: bool = False,
    like: Tensor | None = None,
    bound: float = torch.inf,
) -> tuple[Tensor, Tensor]:
    """The candidates at some ranks of the kept ones, the highest score at rank 0: item ``Long[B, m]``, keep ``Bool``.

    rank          ``Long[B, m]``, from 0; where fewer are kept, ``keep`` is False and the item 0
    user          ``Long[B]``: whose candidates a row asks about
    candidate     ``Int[U, K]``, -1 for none
    query, table  ``Float[B, D]`` and ``Float[I, D]``, rated as by ``score_candidates``
    like          ``Float[B, D]`` of length 1: only candidates whose cosine with it is at most ``bound`` are kept; None:
                  all are

    Of equal scores the earlier candidate ranks higher. Cost: two dot products a candidate, a vector read once for up
    to sixteen rows of a user; nothing of width ``[B, K]`` is stored. Raises IndexError for a user without a row and a
    candidate that is no item, ValueError for a rank below 0.
    """
    asked = {"user": user, "candidate": candidate, "query": query, "table": table, "like": like}
    if not (native.serves(rank, candidate, like) and serves(query, table, user)):
        return at_ranks_reference(rank, cosine=cosine, bound=bound, **asked)
    item, keep = rank.new_empty(rank.shape), rank.new_empty(rank.shape, dtype=torch.bool)
    asked = {name: None if one is None else one.detach().contiguous() for name, one in asked.items()}
    native.module().at_ranks(
        rank.contiguous(), **asked, cosine=cosine, bound=bound, item=item, keep=keep, threads=native.threads()
    )
    return item, keep


@torch.no_grad()
def at_ranks_reference(
    rank: Tensor,
    *,
    user: Tensor,
    candidate: Tensor,
    query: Tensor,
    table: Tensor,
    cosine: bool = False,
    like: Tensor | None = None,
    bound: float = torch.inf,
) -> tuple[Tensor, Tensor]:
    """``at_ranks`` in torch, by parts: rate, filter, rank."""
    own = candidate.index_select(0, user)  # [B, K]
    keep, item = own >= 0, own.clamp_min(0).long()
    if like is not None:
        keep &= score_candidates_reference(like, table, item, cosine=True) <= bound
    score = score_candidates_reference(query, table, item, cosine=cosine)
    score = score.clamp(min=torch.finfo(score.dtype).min).masked_fill(~keep, -torch.inf)
    order = highest_reference(score, max(2, score.shape[1]))  # its quick way for one of them may settle ties otherwise
    held = rank < keep.sum(1, keepdim=True)
    return item.gather(1, order.gather(1, rank.clamp_max(order.shape[1] - 1))).masked_fill(~held, 0), held
