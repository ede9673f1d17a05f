"""Fresh uniform draws among the candidates that filters have kept."""

from __future__ import annotations

from dataclasses import replace

import torch

from negsieve.errors import UsageError
from negsieve.kernels.counter import below, draw_key, words
from negsieve.samplers.base import Stage
from negsieve.samplers.select import choose


class AmongKept(Stage):
    """m uniform draws with replacement among a row's kept candidates; ``keep=False`` for a row that has none.

    So that a choice made per negative, such as the hardest of N, has N of the survivors each time. A draw depends
    on the generator's next key and the row's number alone. Cost: no score evaluation; a running count of the
    mask and a binary search a draw.
    """

    def __init__(self, m: int) -> None:
        super().__init__()
        if m < 1:
            raise UsageError(f"m={m}, wanted 1 or more")
        self.m = m

    def refine(self, negatives, batch, scorer, rng):
        rows, width = len(batch), negatives.item.shape[1]
        draw = words(draw_key(rng), batch.number, self.m)
        if negatives.keep is None:
            return choose(negatives, below(draw, width))
        count = negatives.keep.expand(rows, -1).cumsum(1)  # [B, M]
        many = count[:, -1:]
        place = torch.searchsorted(count, below(draw, many) + 1).clamp_max(width - 1)  # of the r-th kept one
        return replace(choose(negatives, place), keep=(many > 0).expand(rows, self.m))
