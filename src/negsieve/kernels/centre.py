"""Which of a few centres each row of a table has the greatest product with: the costly half of a clustering."""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.kernels import native

_TOGETHER = 1 << 22  # products that the twin holds at a time


def best_centre(vector: Tensor, centre: Tensor, offset: Tensor | None = None) -> Tensor:
    """The c with the greatest ``vector @ centre[c] + offset[c]``: ``Float[n, D]``, ``Float[C, D]`` -> ``Long[n]``.

    offset  ``Float[C]``; none: 0

    Of equal products the first centre's counts, and one that is no number stands above all. A compiled product is one
    chain of multiply-adds over the width: it does not depend on threads or on other rows, and may differ from
    torch's in its last bits. Cost: ``n C D`` multiply-adds, and no product is stored. Raises ValueError for sizes
    that disagree.
    """
    offset = centre.new_zeros(len(centre)) if offset is None else offset
    single = all(one.dtype == torch.float32 for one in (vector, centre, offset))
    if not (single and native.serves(vector, centre, offset)):
        return best_centre_reference(vector, centre, offset)
    near = torch.empty(len(vector), dtype=torch.long)
    sides = (one.detach().contiguous() for one in (vector, centre, offset))
    native.module().best_centre(*sides, near, native.threads())
    return near


def best_centre_reference(vector: Tensor, centre: Tensor, offset: Tensor | None = None) -> Tensor:
    """``best_centre`` in torch: a block of all products at a time."""
    offset = centre.new_zeros(len(centre)) if offset is None else offset
    blocks = vector.split(max(1, _TOGETHER // len(centre)))
    return torch.cat([torch.addmm(offset, block, centre.T).argmax(1) for block in blocks])
