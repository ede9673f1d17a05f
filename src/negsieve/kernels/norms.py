"""Squared norms of some rows of a table: what a penalty on the rows of a batch reads."""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.kernels import native


def squared_norms(table: Tensor, place: Tensor) -> Tensor:
    """``|table[place]|^2`` with gradient: ``[R, D]`` and ``Long[n]`` -> ``Float[n]``.

    Cost: n rows read, and once more for the gradient, which fills an ``[R, D]`` and sums a row's parts in the
    order of ``place``. Raises IndexError for a place that is no row.
    """
    if not _serves(table, place):
        return squared_norms_reference(table, place)
    return _SquaredNorms.apply(table, place)


def squared_norms_reference(table: Tensor, place: Tensor) -> Tensor:
    """``squared_norms`` in torch."""
    return table.index_select(0, place).square().sum(-1)


def _serves(table: Tensor, place: Tensor) -> bool:
    return table.dtype == torch.float32 and table.is_contiguous() and native.serves(table, place)


class _SquaredNorms(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table: Tensor, place: Tensor):
        place = place.contiguous()
        out = table.new_empty(len(place))
        native.module().squared_norms(table.detach(), place, out, native.threads())
        ctx.save_for_backward(table, place)
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor):
        table, place = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody who differentiates twice gets what torch can differentiate
            rows = 2 * gradient[:, None] * table.index_select(0, place)
            return torch.zeros_like(table).index_add(0, place, rows), None
        d_table = table.new_zeros(table.shape)
        shown = (table.detach(), place, gradient.contiguous())
        native.module().squared_norms_gradient(*shown, d_table, native.threads())
        return d_table, None
