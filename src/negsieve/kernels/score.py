"""Rates candidates: a gather of item rows and a dot product each, with no ``[B, M, D]`` between."""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.kernels import native

_IN_CACHE = 1 << 20  # floats that a gather may fill before its result is better used piece by piece


def score_candidates(query: Tensor, table: Tensor, item: Tensor, *, cosine: bool = False) -> Tensor:
    """Scores, with gradient where it is asked for: ``[B, D]``, ``[I, D]``, ``Long[B, M]`` -> ``Float[B, M]``.

    ``cosine`` divides by the item's norm, held above 1e-12; the query's side is the caller's. Cost: B * M rows
    read and as many dot products; the gradient reads them once more and fills an ``[I, D]``. Raises IndexError
    for an id that is no row of the table.
    """
    if not serves(query, table, item):
        return score_candidates_reference(query, table, item, cosine=cosine)
    return _Scores.apply(query, table, item, cosine)


def score_candidates_reference(query: Tensor, table: Tensor, item: Tensor, *, cosine: bool = False) -> Tensor:
    """``score_candidates`` in torch."""
    step = max(1, _IN_CACHE // max(1, item.shape[1] * table.shape[1]))
    if torch.is_grad_enabled() or step >= len(item) or item.device.type != "cpu":
        return _rate(query, table, item, cosine)
    # candidates that only select: vectors that leave the cache would cost several times their arithmetic
    blocks = zip(item.split(step), query.split(step), strict=True)
    return torch.cat([_rate(side, table, rows, cosine) for rows, side in blocks])


def score_gradients(
    query: Tensor, table: Tensor, item: Tensor, *, score: Tensor, gradient: Tensor, cosine: bool = False
) -> tuple[Tensor, Tensor]:
    """What a gradient of the scores, ``Float[B, M]``, is for the query ``[B, D]`` and the table ``[I, D]``.

    An item's gradient is summed in the order of (b, m), whatever the number of threads.
    """
    if not serves(query, table, item):
        return score_gradients_reference(query, table, item, score=score, gradient=gradient, cosine=cosine)
    d_query, d_table = query.new_empty(query.shape), table.new_zeros(table.shape)
    shown = (query, table, item, score, gradient)
    native.module().score_gradients(
        *(one.detach().contiguous() for one in shown), cosine, d_query, d_table, native.threads()
    )
    return d_query, d_table


def score_gradients_reference(
    query: Tensor, table: Tensor, item: Tensor, *, score: Tensor, gradient: Tensor, cosine: bool = False
) -> tuple[Tensor, Tensor]:
    """``score_gradients`` in torch; it can be differentiated again."""
    vector = _gathered(table, item)  # [B, M, D]
    factor, pulled = gradient, query[:, None].expand_as(vector)
    if cosine:
        norm = vector.norm(dim=-1)  # [B, M]
        factor = gradient / norm.clamp_min(1e-12)
        along = torch.where(norm > 1e-12, score / norm.clamp_min(1e-12), 0.0)
        pulled = pulled - along[..., None] * vector
    d_query = torch.einsum("bm,bmd->bd", factor, vector)
    d_table = torch.zeros_like(table).index_add(0, item.reshape(-1), (factor[..., None] * pulled).flatten(0, 1))
    return d_query, d_table


def serves(query: Tensor, table: Tensor, item: Tensor) -> bool:
    """Whether the compiled kernels can rate these: single precision in order on the CPU, and nobody asks for less."""
    single = query.dtype == table.dtype == torch.float32 and table.is_contiguous()
    return single and native.serves(query, table, item) and not torch.is_autocast_enabled("cpu")


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query: Tensor, table: Tensor, item: Tensor, cosine: bool):
        score = query.new_empty(item.shape)
        side = query.detach().contiguous()
        native.module().score_candidates(side, table.detach(), item.contiguous(), cosine, score, native.threads())
        ctx.save_for_backward(query, table, item, score)
        ctx.cosine = cosine
        return score

    @staticmethod
    def backward(ctx, gradient: Tensor):
        query, table, item, score = ctx.saved_tensors
        # somebody who differentiates twice gets what torch can differentiate
        find = score_gradients_reference if torch.is_grad_enabled() else score_gradients
        return *find(query, table, item, score=score, gradient=gradient, cosine=ctx.cosine), None, None


def _rate(side: Tensor, table: Tensor, item: Tensor, cosine: bool) -> Tensor:
    vector = _gathered(table, item)
    if cosine:
        vector = torch.nn.functional.normalize(vector, dim=-1)
    return torch.einsum("bd,bmd->bm", side, vector)


def _gathered(table: Tensor, item: Tensor) -> Tensor:
    """``[B, M, D]``; the backward of index_select costs half of indexing's."""
    return table.index_select(0, item.reshape(-1)).view(*item.shape, table.shape[1])
