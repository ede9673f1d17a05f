"""Dropout whose mask is a function of (key, sample, site): no generator, no state, no order of work.

A mask so stays the same whatever else is in the batch, on resume, and on any number of threads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.kernels.counter import words

_LANES = 4  # masks read 16 bits each: a share is met to 1 / 65536
_SITE = 1 << 20  # words set aside for a site


def thinned(value: Tensor, share: float, *, key: int | None, sample: Tensor, site: int) -> Tensor:
    """``value [.., D]`` with ``share`` of its entries at 0 and the others scaled up; itself without a key.

    sample  ``Long[..]``: names the rows of ``value``; equal ones get equal masks
    site    which dropout of the forward pass this is

    Cost: a random word for 4 entries and three passes.
    """
    if key is None or not share:
        return value
    width = value.shape[-1]
    drawn = words(key, sample.reshape(-1), -(-width // _LANES), first=site * _SITE)
    lane = drawn.view(torch.int16)[:, :width]
    kept = lane >= min(round(share * 65536), 65535) - 32768
    return value * kept.to(value.dtype).mul_(1 / (1 - share)).view(value.shape)
