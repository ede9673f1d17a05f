"""Rates candidates: a gather of item rows and a dot product each, with no ``[B, M, D]`` between."""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.kernels import native

_IN_CACHE = 1 << 20  # floats that a gather may fill before its result is better used piece by piece


def score_candidates(query: Tensor, table: Tensor, item: Tensor, *, cosine: bool = False) -> Tensor:
    """Scores without gradient: ``query [B, D]``, ``table [I, D]``, ``item Long[B, M]`` -> ``Float[B, M]``.

    ``cosine`` divides by the item's norm, held above 1e-12; the query's side is the caller's. Cost: B * M rows
    read and as many dot products. Raises IndexError for an id that is no row of the table.
    """
    if not serves(query, table, item):
        return score_candidates_reference(query, table, item, cosine=cosine)
    out = query.new_empty(item.shape, requires_grad=False)
    query, table = query.detach().contiguous(), table.detach()
    native.module().score_candidates(query, table, item.contiguous(), cosine, out, native.threads())
    return out


def score_candidates_reference(query: Tensor, table: Tensor, item: Tensor, *, cosine: bool = False) -> Tensor:
    """``score_candidates`` in torch."""
    step = max(1, _IN_CACHE // max(1, item.shape[1] * table.shape[1])) if item.device.type == "cpu" else len(item)
    with torch.no_grad():
        blocks = zip(item.split(max(1, step)), query.split(max(1, step)), strict=True)
        return torch.cat([_rate(side, table, rows, cosine) for rows, side in blocks])


def serves(query: Tensor, table: Tensor, item: Tensor) -> bool:
    """Whether the compiled kernels can rate these: single precision in order on the CPU, and nobody asks for less."""
    single = query.dtype == table.dtype == torch.float32 and table.is_contiguous()
    return single and native.serves(query, table, item) and not torch.is_autocast_enabled("cpu")


def _rate(side: Tensor, table: Tensor, item: Tensor, cosine: bool) -> Tensor:
    vector = table.index_select(0, item.reshape(-1)).view(*item.shape, table.shape[1])  # [b, M, D]
    if cosine:
        vector = torch.nn.functional.normalize(vector, dim=-1)
    return torch.einsum("bd,bmd->bm", side, vector)
