"""Draws by place among the candidates that are left, ranked by score: fewer left, fewer drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from negsieve.errors import UsageError
from negsieve.kernels import score
from negsieve.kernels.counter import below, draw_key, words
from negsieve.kernels.hardest import highest
from negsieve.kernels.kept import at_ranks
from negsieve.samplers.base import Learner, Stage
from negsieve.samplers.rankband import RankBand
from negsieve.samplers.select import choose, masked_scores
from negsieve.samplers.similar import SimilarTo
from negsieve.scorers import Crossed, Dot, Scorer
from negsieve.types import Batch, Negatives


class TopDraw(Stage):
    """Draws m places uniformly from ``low .. high - 1`` and takes the kept candidates at these ranks, hardest first.

    A place that no kept candidate holds gives ``keep=False``: a row whose filter left few gets few.

    m         how many are drawn
    low, high the places, counted from 0
    distinct  without replacement; then m is at most ``high - low``

    With ``low=0`` over N uniform candidates this is DNS*(M = high, N). A draw depends on the generator's next key
    and the row's number alone. Cost: M score evaluations a row without gradient, and a partition; from the
    band of a ``RankBand``, filtered or not, a ``Dot`` needs no ``[B, M]`` for it.
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
        rated = masked_scores(negatives, scorer)  # [B, M]
        order = highest(rated, min(self.high, rated.shape[1]))
        many = torch.full_like(order[:, :1], rated.shape[1])
        if negatives.keep is not None:
            many = negatives.keep.expand(rated.shape).sum(1, keepdim=True)
        rank = self._ranks(draw_key(rng), batch.number)  # [B, m]
        chosen = choose(negatives, order.gather(1, rank.clamp_max(order.shape[1] - 1)))
        return replace(chosen, keep=rank < many)

    def drawn_from(self, parts, batch, scorer, rng):
        asked = _of_band(parts, batch, scorer)
        if asked is None:
            return None
        item, keep = at_ranks(self._ranks(draw_key(rng), batch.number), **asked)
        return Negatives(item, keep=keep)

    def _ranks(self, key: int, number: Tensor) -> Tensor:
        places = self.high - self.low
        if not self.distinct:
            return self.low + below(words(key, number, self.m), places)
        return self.low + words(key, number, places).argsort(1)[:, : self.m]


def _of_band(parts: Sequence[Learner], batch: Batch, scorer: Scorer) -> dict | None:
    """What ``at_ranks`` has to know of a band's candidates and their filter; None for other parts and scorers."""
    band, filters = parts[0], parts[1:]
    if type(band) is not RankBand or len(filters) > 1 or any(type(one) is not SimilarTo for one in filters):
        return None
    if type(scorer) not in (Dot, Crossed) or len(scorer.table) != band.n_items or not len(band.candidate):
        return None
    if not score.serves(scorer.query_side, scorer.table, batch.user):
        return None
    known = {"user": batch.user, "candidate": band.candidate, "query": scorer.query_side, "table": scorer.table}
    for similar in filters:
        known["like"] = similar.sign * scorer.by_cosine(scorer.vectors(batch.item)).query_side.detach()
        known["bound"] = similar.sign * float(similar.bound)
    return known | {"cosine": scorer.cosine}
