"""A band of each row's ranking: the places that stand from one rank on, as many as asked.

Of equal scores the lower place ranks higher, on every path; a score that is no number stands above all, as in
``kernels.hardest``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.kernels import native


def band(score: Tensor, taken: tuple[Tensor, Tensor], *, low: int, width: int, ranked: bool = False) -> Tensor:
    """The places of the ``width`` highest scores from rank ``low`` on, without those taken: ``Long[b, width]``.

    score   ``Float[b, m]``
    taken   (row ``Long[n]``, place ``Long[n]``) of what may not be in the band. What of it ranks before the band
            counts as a rank; for what ranks later the band goes on below by as many
    low     the highest score has rank 0
    ranked  highest first; else in the order of places

    What scores -inf is never in a band. Rows with fewer places than ``width`` end in -1. Raises IndexError for a
    pair of ``taken`` that is no place of a row. Cost: four passes over the scores, and what lies in a 2048th of their
    range is compared; the twin sorts all.
    """
    if score.dtype != torch.float32 or not native.serves(score, *taken):
        return band_reference(score, taken, low=low, width=width, ranked=ranked)
    out = torch.empty(len(score), width, dtype=torch.long)
    row, place = (side.contiguous() for side in taken)
    native.module().band(score.detach().contiguous(), row, place, low, ranked, out, native.threads())
    return out


def band_reference(
    score: Tensor, taken: tuple[Tensor, Tensor], *, low: int, width: int, ranked: bool = False
) -> Tensor:
    """``band`` in torch: a stable sort of all scores."""
    many = score.shape[1]
    may = score > -torch.inf
    may |= score.isnan()
    may[taken] = False
    order = (score + 0.0).sort(dim=1, descending=True, stable=True).indices[:, low:]  # -0 counts as 0
    may = may.gather(1, order)  # [b, m - low], by rank
    there = may & (may.cumsum(1) <= width)
    if not ranked:
        order = order.masked_fill(~there, many).sort(dim=1).values
        there = order < many
    place = there.cumsum(1).sub_(1).masked_fill_(~there, width)  # where it goes; the last column is for the rest
    out = torch.full((len(score), width + 1), -1, device=score.device)
    out.scatter_(1, place, order.masked_fill(~there, -1))
    return out[:, :width]
