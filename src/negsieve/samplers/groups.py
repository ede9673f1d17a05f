"""One hard candidate for each negative, of a group of candidates of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.errors import UsageError
from negsieve.kernels.counter import below, draw_key, words
from negsieve.kernels.hardest import highest
from negsieve.samplers.base import Stage
from negsieve.samplers.hops import check_groups, refuse_uneven
from negsieve.samplers.select import choose, masked_scores


class HardestOfEach(Stage):
    """The candidates, in order, are cut into K equal groups; each gives its hardest, or one of its m hardest.

    n_negatives  K
    m            a uniform one of each group's m highest scores, of the kept ones while there are any; 1: the highest

    So K hard negatives are K independent choices, where ``Hardest(K)`` takes the K best of all candidates. A group
    without a kept candidate is ``keep=False``. Cost: M score evaluations a row without gradient.
    Zhang et al., SIGIR 2013 (m = 1); Shi et al., WWW 2023, as RealHNS draws it.
    """

    def __init__(self, n_negatives: int, *, m: int = 1) -> None:
        super().__init__()
        if m < 1:
            raise UsageError(f"m={m}, wanted 1 or more")
        self.n_negatives, self.m = check_groups(n_negatives), m

    def refine(self, negatives, batch, scorer, rng):
        refuse_uneven(negatives, self.n_negatives)
        size = negatives.item.shape[1] // self.n_negatives
        if self.m > size:
            raise UsageError(f"the hardest {self.m} of groups of {size} candidates: draw more, or choose fewer")
        score = masked_scores(negatives, scorer).reshape(-1, size)  # [B * K, size]
        best = highest(score, self.m)
        keep = None if negatives.keep is None else negatives.keep.expand(len(batch), -1).reshape(-1, size)
        place = best[:, :1] if self.m == 1 else best.gather(1, self._lot(keep, batch.number, rng))
        first = size * torch.arange(self.n_negatives, device=place.device)
        return choose(negatives, place.view(-1, self.n_negatives) + first)

    def _lot(self, keep: Tensor | None, number: Tensor, rng: torch.Generator) -> Tensor:
        """Which of its m highest each group gives: ``Long[B * K, 1]``."""
        many = self.m
        if keep is not None:
            many = keep.sum(1).clamp(1, self.m).view(-1, self.n_negatives)
        return below(words(draw_key(rng), number, self.n_negatives), many).reshape(-1, 1)
