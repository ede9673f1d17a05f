"""The smallest model of two domains: tables in the place of encoders, for trying what needs the states of both."""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.samplers.base import Sampler
from negsieve.scorers import Crossed, Encoder, Towers
from negsieve.types import Batch


class CrossedTowers:
    """An encoder ``Batch -> Crossed`` of two tables.

    user  ``Float[U, D]``; a user's target state, its reverse the source state. Every fourth user did nothing in the
          source domain; where a batch names rows, the state is that before them, a little off
    item  ``Float[I, D]``

    The query is the mean of both states.
    """

    def __init__(self, user: Tensor, item: Tensor, *, cosine: bool = False, temperature: float = 1.0) -> None:
        self.user, self.item, self.cosine, self.temperature = user, item, cosine, temperature

    def __call__(self, batch: Batch) -> Crossed:
        target = self.user[batch.user]
        if batch.row is not None:
            target = target + 0.3 * torch.sin(batch.row.to(target.dtype))[:, None]
        met = batch.user % 4 != 3
        source = torch.where(met[:, None], self.user.flip(1)[batch.user], 0.5)
        return Crossed(
            _mean(source, target),
            self.item,
            source=source,
            target=target,
            met=met,
            fuse=_mean,
            cosine=self.cosine,
            temperature=self.temperature,
        )


def stand_in(sampler: Sampler, user: Tensor, item: Tensor) -> Encoder:
    """The simplest model that serves a sampler: two towers with layers, or states of two domains if it needs them."""
    parts = sampler.modules() if isinstance(sampler, Sampler) else ()
    if any("domains" in getattr(part, "needs", ()) for part in parts):
        return CrossedTowers(user, item)
    return Towers(user, item, stack=(item * 0.5, item * 1.5))


def _mean(source: Tensor, target: Tensor) -> Tensor:
    return (source + target) / 2
