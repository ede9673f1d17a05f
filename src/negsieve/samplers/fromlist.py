"""Draws from what users themselves turned down: explicit negatives, alone or among sampled ones."""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.errors import UsageError
from negsieve.samplers.base import Composition, LawfulSampler
from negsieve.samplers.combine import spread, where
from negsieve.schedule import Schedule, checked
from negsieve.seen import Seen
from negsieve.types import Batch, Negatives

_LARGEST = 2**63 - 1
PART = "negatives"


class FromList(LawfulSampler):
    """K draws a row, uniformly and with replacement, from the list of the row's user.

    listed       what each user turned down; its part must be "negatives"
    seen         pairs that are no negatives whatever a list says, such as train positives
    n_negatives  K

    ``log_q = -log(length of the list)``. Rows of users without a list get arbitrary items with
    ``keep=False``. Cost: a gather a draw; no score evaluation. Memory: 24 bytes a pair.
    """

    def __init__(self, listed: Seen, *, seen: Seen | None = None, n_negatives: int = 1) -> None:
        super().__init__()
        if listed.part != PART:
            raise UsageError(
                f"a list of negatives is read from a Seen with part={PART!r}, and this one holds {listed.part!r} "
                "pairs: what is held out must not reach training, and what is in train is no negative"
            )
        if n_negatives < 1:
            raise UsageError(f"n_negatives={n_negatives}, wanted 1 or more")
        self.listed = listed if seen is None else _without(listed, seen)
        self.n_negatives = n_negatives
        self.gaps = bool((self.listed.degree() == 0).any())

    def serves(self, batch: Batch) -> Tensor:
        """Which rows' users have a list: ``Bool[B]``."""
        return self.listed.degree(batch.user) > 0

    def sample(self, batch, scorer, rng):
        shape = (len(batch), self.n_negatives)
        draw = torch.randint(0, _LARGEST, shape, generator=rng, device=batch.user.device)
        if not len(self.listed):
            nothing = torch.zeros(shape, dtype=torch.bool, device=batch.user.device)
            return Negatives(torch.zeros_like(draw), keep=nothing, log_q=torch.zeros(shape, device=draw.device))
        many = self.listed.degree(batch.user)[:, None]  # [B, 1]
        place = self.listed.offset[batch.user][:, None] + draw.remainder_(many.clamp_min(1))
        item = self.listed.at(place.clamp_(max=len(self.listed) - 1))
        keep = (many > 0).expand(shape) if self.gaps else None
        return Negatives(item, keep=keep, log_q=-many.clamp_min(1).log().expand(shape))

    def log_prob(self, batch, item):
        """``-inf`` for what is not on the list of the row's user."""
        there = self.listed.contains(batch.user, item)
        many = self.listed.degree(batch.user)[:, None].clamp_min(1)
        return (-many.log()).expand(there.shape).masked_fill(~there, -torch.inf)


class Among(Composition, LawfulSampler):
    """Each negative is from a list with probability ``share``, else from ``rest``; always from ``rest`` without a list.

    share  0 .. 1, a number or a schedule

    Both must draw equally many. ``log_q`` is the mixture's: ``log(share q_list(j) + (1 - share) q_rest(j))``.
    """

    def __init__(self, listed: FromList, rest: LawfulSampler, *, share: float | str | Schedule = 1.0) -> None:
        super().__init__()
        self.listed, self.rest = listed, rest
        self.share = checked("share", share, least=0.0, most=1.0)

    def parts(self):
        return [self.listed, self.rest]

    def sample(self, batch, scorer, rng):
        own = spread(self.listed.sample(batch, scorer, rng), len(batch))
        rest = spread(self.rest.sample(batch, scorer, rng), len(batch))
        if own.item.shape != rest.item.shape:
            counts = f"{own.item.shape[1]} and {rest.item.shape[1]}"
            raise UsageError(
                f"a list and what it stands among draw {counts} negatives a row: give both the same number"
            )
        lot = torch.rand(own.item.shape, generator=rng, device=batch.user.device)
        found = where(lot < self._share(batch), own, rest)
        return Negatives(found.item, keep=found.keep, log_q=self.log_prob(batch, found.item))

    def log_prob(self, batch, item):
        share = self._share(batch).float()
        return torch.logaddexp(
            share.log() + self.listed.log_prob(batch, item), (1 - share).log() + self.rest.log_prob(batch, item)
        )

    def _share(self, batch: Batch) -> Tensor:
        """The probability of the list in each row, ``Float[B, 1]``."""
        serves = self.listed.serves(batch)[:, None]
        return torch.where(serves, torch.as_tensor(self.share.value, dtype=torch.float64, device=serves.device), 0.0)


def _without(listed: Seen, seen: Seen) -> Seen:
    """The pairs of ``listed`` that are not in ``seen``."""
    if (listed.n_users, listed.n_items) != (seen.n_users, seen.n_items):
        raise UsageError(
            f"the negatives are of {listed.n_users} users and {listed.n_items} items, the seen pairs of "
            f"{seen.n_users} and {seen.n_items}: both must be numbered alike"
        )
    user, item = listed.owner, listed.item
    free = ~seen.contains(user, item[:, None])[:, 0]
    return Seen(user[free], item[free], n_users=listed.n_users, n_items=listed.n_items, part=listed.part)
