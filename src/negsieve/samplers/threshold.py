"""The score that an item must reach to be among a user's top K, for losses that look at the top only.

The threshold of every user is a memory, brought up to date every few epochs, because finding it
costs many scores and it moves slowly (SL@K, KDD 2025).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from negsieve.errors import UsageError, nearest
from negsieve.samplers.base import Stage
from negsieve.samplers.filter import refuse_leak
from negsieve.seen import Seen
from negsieve.types import Batch

QUANTILES = ("sample", "exact")
_SCORES = 1 << 22  # scores that a block of users may hold


class Threshold(Stage):
    """Sets ``bound Float[B]``: each row's user's top-k threshold.

    k         how long the list is
    every     epochs between two looks
    quantile  "sample": the k-th highest score among the user's train positives and the row's own draws,
              taken in every ``every``-th epoch, the first being number ``every``; until then 0. Of a user
              with more train items than nine in ten have, only that many are scored, lowest ids first.
              Of several rows of a user the last one counts. "exact": the k-th highest score among all
              items, for all users, before epochs 0, ``every``, ...

    Cost: nothing for a row, but in the epochs that look: "sample" N + P scores a row, P the user's
    positives; "exact" I scores a user. Memory: 4 bytes a user.
    """

    def __init__(self, *, seen: Seen, k: int = 20, every: int = 5, quantile: str = "sample") -> None:
        super().__init__()
        refuse_leak(seen)
        if not 1 <= k <= seen.n_items:
            raise UsageError(f"k={k}, wanted 1 to {seen.n_items}, the number of items")
        if every < 1:
            raise UsageError(f"every={every}, wanted 1 epoch or more")
        if quantile not in QUANTILES:
            raise UsageError(
                f"quantile={quantile!r}, wanted one of {', '.join(QUANTILES)}.{nearest(quantile, QUANTILES)}"
            )
        self.seen, self.k, self.every, self.quantile = seen, k, every, quantile
        self.most = max(1, int(seen.degree().double().quantile(0.9)))
        self.register_buffer("bound", torch.zeros(seen.n_users))
        self.register_buffer("looks", torch.tensor(False))

    def refine(self, negatives, batch, scorer, rng):
        if self.quantile == "sample" and negatives.item.shape[1] < self.k:
            raise UsageError(
                f"the top-{self.k} threshold of a sample needs at least {self.k} negatives, and "
                f"{negatives.item.shape[1]} are drawn: draw more, or use quantile=exact"
            )
        return replace(negatives, bound=self.bound[batch.user])

    @torch.no_grad()
    def refresh(self, epoch, view, rng):
        if self.quantile == "sample":
            self.looks.fill_((epoch + 1) % self.every == 0)
            return
        if epoch % self.every:
            return
        n_items = self.seen.n_items
        item = torch.arange(n_items, device=self.bound.device)[None]
        everyone = torch.arange(self.seen.n_users, device=self.bound.device)
        for user in everyone.split(max(1, _SCORES // n_items)):
            self.bound[user] = view(Batch(user)).score(item).topk(self.k, dim=1).values[:, -1].float()

    def observe(self, batch, negatives, scorer, loss, rng):
        if self.quantile != "sample" or not bool(self.looks):
            return None
        drawn = scorer.score(negatives.item)  # [B, K]
        if negatives.keep is not None:
            drawn = drawn.masked_fill(~negatives.keep, -torch.inf)
        top = torch.cat([self._of_positives(batch, scorer), drawn], dim=1).topk(self.k, dim=1).values  # [B, k]
        # a row that has fewer than k: the lowest it has
        lowest = top.masked_fill(top == -torch.inf, torch.inf).amin(1)
        return {"user": batch.user, "bound": lowest.float()}

    def _of_positives(self, batch: Batch, scorer) -> Tensor:
        """Scores of each user's first train positives, ``Float[B, P]``, padded with ``-inf``."""
        many = self.seen.degree(batch.user).clamp_max(self.most)
        place = torch.arange(self.most, device=many.device)
        there = place < many[:, None]  # [B, P]
        pair = torch.where(there, self.seen.offset[batch.user][:, None] + place, 0)
        return scorer.score(self.seen.at(pair)).masked_fill(~there, -torch.inf)

    def learn(self, evidence):
        user = torch.cat([one["user"] for one in evidence])
        bound = torch.cat([one["bound"] for one in evidence])
        place = torch.arange(len(user), device=user.device)
        last = torch.full_like(self.bound, -1, dtype=torch.long).scatter_reduce(0, user, place, "amax")
        seen = last >= 0
        self.bound[seen] = bound[last[seen]]
