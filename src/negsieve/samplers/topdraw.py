"""Draws by place among the candidates that are left, ranked by score: fewer left, fewer drawn."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from negsieve.errors import UsageError
from negsieve.kernels.counter import below, draw_key, words
from negsieve.kernels.hardest import highest
from negsieve.samplers.base import Stage
from negsieve.samplers.select import choose, masked_scores


class TopDraw(Stage):
    """Draws m places uniformly from ``low .. high - 1`` and takes the kept candidates at these ranks, hardest first.

    A place that no kept candidate holds gives ``keep=False``: a row whose filter left few gets few.

    m         how many are drawn
    low, high the places, counted from 0
    distinct  without replacement; then m is at most ``high - low``

    With ``low=0`` over N uniform candidates this is DNS*(M = high, N). A draw depends on the generator's next key
    and the row's number alone. Cost: M score evaluations a row without gradient, and a heap of ``high``.
    Ma et al., RecSys 2023 (the fine selector); Shi et al., WWW 2023.
    """

    def __init__(self, m: int, *, low: int = 0, high: int = 100, distinct: bool = False) -> None:
        super().__init__()
        if m < 1 or not 0 <= low < high:
            raise UsageError(f"m={m} draws of the places {low} to {high}: wanted m of 1 or more, and 0 <= low < high")
        if distinct and m > high - low:
            raise UsageError(f"m={m} different ones of {high - low} places: draw fewer, or from more places")
        self.m, self.low, self.high, self.distinct = m, low, high, distinct

    def refine(self, negatives, batch, scorer, rng):
        score = masked_scores(negatives, scorer)  # [B, M]
        order = highest(score, min(self.high, score.shape[1]))
        many = torch.full_like(order[:, :1], score.shape[1])
        if negatives.keep is not None:
            many = negatives.keep.expand(score.shape).sum(1, keepdim=True)
        rank = self._ranks(draw_key(rng), batch.number)  # [B, m]
        chosen = choose(negatives, order.gather(1, rank.clamp_max(order.shape[1] - 1)))
        return replace(chosen, keep=rank < many)

    def _ranks(self, key: int, number: Tensor) -> Tensor:
        places = self.high - self.low
        if not self.distinct:
            return self.low + below(words(key, number, self.m), places)
        return self.low + words(key, number, places).argsort(1)[:, : self.m]
