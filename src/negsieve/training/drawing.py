"""Samplers whose draws for many steps can be made ahead: independent draws, and the hardest of some of them.

Their candidates depend on keys and rows alone. What depends on the model, the choice of the hardest, the compiled
steps do themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from negsieve.kernels.counter import draw_key, renamed
from negsieve.samplers.base import Chain, Sampler
from negsieve.samplers.draw import Weighted
from negsieve.samplers.select import Hardest
from negsieve.types import Batch


@dataclass(frozen=True)
class Draws:
    """A sampler as many steps draw by it.

    source  the law of the candidates
    m       the negatives are the m hardest candidates; None: all of them
    added   the loss adds the chosen instead of averaging
    """

    source: Weighted
    m: int | None = None
    added: bool = False

    @property
    def many(self) -> int:
        """K, the negatives of a row."""
        return self.source.n_negatives if self.m is None else self.m

    def candidates(self, batch: Batch, rngs: Iterable[torch.Generator]) -> Tensor:
        """What the sampler would draw for equal parts of a batch, each by its own generator: ``Long[n, H]``."""
        keys = [draw_key(rng) for rng in rngs]
        return self.source.draw(replace(batch, row=renamed(batch.number, keys)), keys[0])

    def keep(self, batch: Batch) -> Tensor | None:
        """Which chosen negatives count, ``Bool[n, K]``; None where all do."""
        keep = self.source.keep(batch)
        return None if keep is None else keep[:, None].expand(-1, self.many)

    def weight(self, batch: Batch) -> Tensor | None:
        """How much each chosen negative counts, ``Float[n, K]``; None where the loss averages."""
        return torch.ones(len(batch), self.many, device=batch.user.device) if self.added else None


def draws_of(sampler: Sampler) -> Draws | None:
    """What a sampler is to a block of steps; None for one that draws a step at a time."""
    if type(sampler) is Weighted:
        return Draws(sampler)
    if type(sampler) is not Chain or type(sampler.source) is not Weighted or len(sampler.stages) != 1:
        return None
    stage = sampler.stages[0]
    one_of_several = type(stage) is Hardest and stage.mode == "one" and stage.m > 1
    if type(stage) is not Hardest or one_of_several or not stage.m <= sampler.source.n_negatives <= 4096:
        return None
    return Draws(sampler.source, stage.m, added=stage.mode == "sum")
