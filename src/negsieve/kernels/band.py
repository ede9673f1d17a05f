"""A band of each row's ranking: the places that stand from one rank on, as many as asked.

Of equal scores the lower place ranks higher, on every path; a score that is no number stands above all, as in
``kernels.hardest``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.kernels import native

_MOST, _NEVER = 2**31 - 1, -(2**63)


def band(score: Tensor, taken: tuple[Tensor, Tensor], *, low: int, width: int, ranked: bool = False) -> Tensor:
    """The places of the ``width`` highest scores from rank ``low`` on, without those taken: ``Long[b, width]``.

    score   ``Float[b, m]``, compared in single precision
    taken   (row ``Long[n]``, place ``Long[n]``) of what may not be in the band. What of it ranks before the band
            counts as a rank; for what ranks later the band goes on below by as many
    low     the highest score has rank 0
    ranked  highest first; else in the order of places

    What scores -inf is never in a band. Rows with fewer places than ``width`` end in -1. Raises IndexError for a
    pair of ``taken`` that is no place of a row. Cost: four passes over the scores, and what lies in a 2048th of their
    range is compared; the twin selects twice.
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
    """``band`` in torch: no two keys are equal, so that any selection of them is the one."""
    many = score.shape[1]
    key = _hardness(score.float())
    gone = score == -torch.inf
    gone[taken] = True
    if low:
        gone |= key > key.kthvalue(many - low, dim=1, keepdim=True).values if low < many else True
    key.masked_fill_(gone, _NEVER)
    found = key.topk(min(width, many), dim=1, sorted=ranked)
    place = found.indices.masked_fill_(found.values == _NEVER, many)  # many: none
    if not ranked:
        place = place.sort(dim=1).values
    return torch.nn.functional.pad(place.masked_fill_(place == many, -1), (0, width - place.shape[1]), value=-1)


def _hardness(score: Tensor) -> Tensor:
    """Numbers in the order of single scores and places, as kernels have them: ``Float[b, m]`` -> ``Long[b, m]``."""
    bits = (score + 0.0).view(torch.int32)  # -0 counts as 0
    bits = (bits ^ ((bits >> 31) & _MOST)).masked_fill_(score.isnan(), _MOST)
    return (bits.long() << 32).add_(_MOST - torch.arange(score.shape[1], device=score.device))
