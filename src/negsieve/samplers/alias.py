"""Draws from one law for all users by an alias table, masked afterwards: no draw is ever repeated."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from negsieve.errors import UsageError, nearest
from negsieve.samplers.base import LawfulSampler
from negsieve.samplers.draw import EXCLUDE, Weighted
from negsieve.samplers.filter import refuse_leak, unseen
from negsieve.seen import Seen


class Alias(LawfulSampler):
    """K draws a row from one law for all users, in constant time each; what the row may not have is masked.

    n_items      I
    seen         what each user has
    n_negatives  K; draws are with replacement
    weight       ``Long[I]`` from ``powered``; None: uniform
    exclude      "train": masks what the row's user has; "positive": only the row's positive; "none"

    ``log_q`` and ``positive_log_q`` are of that one law, over all items. A masked draw is lost, so a row
    counts fewer than K negatives at times, and now and then none. Cost: no score evaluation.
    """

    def __init__(
        self, n_items: int, *, seen: Seen, n_negatives: int = 1, weight: Tensor | None = None, exclude: str = "train"
    ) -> None:
        super().__init__()
        refuse_leak(seen)
        if exclude not in EXCLUDE:
            raise UsageError(f"exclude={exclude!r}, wanted one of {', '.join(EXCLUDE)}.{nearest(exclude, EXCLUDE)}")
        self.law = Weighted(n_items, seen=seen, n_negatives=n_negatives, weight=weight, exclude="none")
        self.exclude, self.seen = exclude, seen

    def sample(self, batch, scorer, rng):
        drawn = self.law.sample(batch, scorer, rng)
        keep = unseen(self.seen, batch.user, drawn.item) if self.exclude == "train" else None
        if self.exclude != "none" and batch.item is not None:
            other = drawn.item != batch.item[:, None]
            keep = other if keep is None else keep & other
        own = None if batch.item is None else self.law.log_share(batch.item)
        return replace(drawn, keep=keep, positive_log_q=own)

    def log_prob(self, batch, item):
        """One law for all rows, ``[B|1, M]`` as ``item``; ``-inf`` for items without weight."""
        return self.law.log_prob(batch, item)
