"""The hardest of some candidates. Of equal scores the one drawn first is the harder, on every path.

A score that is no number stands above all, as torch has it: it is chosen, the loss is none, and the run stops.
"""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.kernels import native


def highest(score: Tensor, m: int) -> Tensor:
    """Where each row's ``m`` highest scores stand, highest first: ``Float[B, M]`` -> ``Long[B, m]``.

    Cost: one pass for m = 1, beyond that a heap of m. Raises ValueError unless ``1 <= m <= M``.
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
