"""Candidates from a band of each user's ranking of the whole catalogue, made anew before an epoch.

The very top of a user's ranking is full of items that the user would like; its bottom teaches nothing. A band
between is hard without being false. The band of every user is found once an epoch, a block of users at a
time: a matrix product, and what stands at the band's ranks (``kernels.band``).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from negsieve.errors import UsageError, nearest
from negsieve.kernels.band import band
from negsieve.samplers.base import Sampler
from negsieve.samplers.combine import narrowed
from negsieve.samplers.draw import Weighted
from negsieve.samplers.filter import refuse_leak
from negsieve.samplers.prior import PriorStates, due
from negsieve.scorers import Scorer
from negsieve.seen import Seen
from negsieve.types import Batch, Negatives

COLUMNS = ("own", "shared", "top")
MODES = ("auto", "exact", "sampled")
_SLACK = 1e-9  # so that 7 % of 100 is 7 in spite of its rounding
_EXACT_UP_TO = 20_000  # items whose whole ranking is affordable for all users before an epoch


class RankBand(Sampler):
    """K candidates a user, uniform without replacement from ranks ``[floor(I p_min %), ceil(I p_max %))`` of all items.

    Ranks are by the frozen model's scores before the epoch, highest first, in ``states``. What the user has in
    ``seen`` is taken out and the band goes on below by as many, so that it stays as wide.

    n_items       I
    seen          what may not be a candidate: the training pairs, or an oracle's
    p_min, p_max  the band, per cent of the catalogue
    k             K; a narrower band gives all it has
    every         epochs between two rebuilds, the first at the first refresh
    states        which state of a user ranks; by default the one after all that the user did
    columns       "own": every user draws for itself; "shared": all users' candidates stand at the same ranks; "top":
                  the K highest of the band. The last two rank exactly
    mode          "exact"; "sampled": every block of users has a random ``K / (p_max - p_min)`` of the items instead of
                  all, and the band of that sample, which is K wide, is the candidates: ranks are off by
                  ``sqrt(p (1 - p) / m)`` of the catalogue; "auto": sampled above 20,000 items
    whose         ``Long[b] -> Bool[b]``, users that need candidates; the others get none

    ``item [B, K]``, with ``keep=False`` for candidates that a user lacks. Before the first refresh draws are uniform.

    Cost: no score evaluation at a step; a refresh ``U I`` scores, ``U m`` when sampled. Memory: 4 bytes a
    candidate and user, and while refreshing the scores of 128 users. Ma et al., RecSys 2023 (the coarse selector).
    """

    elastic = ("candidate",)

    def __init__(
        self,
        n_items: int,
        *,
        seen: Seen,
        p_min: float = 30.0,
        p_max: float = 40.0,
        k: int = 1000,
        every: int = 1,
        states: PriorStates | None = None,
        columns: str = "own",
        mode: str = "auto",
        whose: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        refuse_leak(seen)
        if not 0 <= p_min < p_max <= 100:
            raise UsageError(f"a band from {p_min} to {p_max} per cent: wanted 0 <= p_min < p_max <= 100")
        if min(k, every) < 1:
            raise UsageError(f"k={k}, every={every}: wanted 1 or more each")
        for name, value, known in (("columns", columns, COLUMNS), ("mode", mode, MODES)):
            if value not in known:
                raise UsageError(f"{name}={value!r}, wanted one of {', '.join(known)}.{nearest(value, known)}")
        if mode == "sampled" and columns != "own":
            raise UsageError(f"mode=sampled with columns={columns}: ranks that users share need mode=exact")
        self.n_items, self.seen, self.every, self.columns, self.whose = n_items, seen, every, columns, whose
        self.p_min, self.p_max = p_min, p_max
        self.states = PriorStates(seen.n_users) if states is None else states
        self.low, high = _ranks(n_items, p_min, p_max)
        self.width = high - self.low
        self.k = min(k, self.width)
        sampled = mode == "sampled" or (mode == "auto" and columns == "own" and n_items > _EXACT_UP_TO)
        self.rated = min(n_items, math.ceil(self.k / (p_max - p_min) * 100 - _SLACK)) if sampled else n_items
        if self.rated < n_items:
            self.low = min(math.floor(self.rated * p_min / 100 + _SLACK), self.rated - self.k)
            self.width = self.k
        self.start = Weighted(n_items, seen=seen, n_negatives=self.k)
        self.register_buffer("candidate", torch.empty(0, self.k, dtype=torch.int32))  # [U, K], -1 for none
        self.register_buffer("built", torch.tensor(-1))

    @torch.no_grad()
    def refresh(self, epoch, view, rng):
        if not due(self.built, epoch, self.every):
            return
        found = torch.full((self.seen.n_users, self.k), -1, dtype=torch.int32, device=self.candidate.device)
        order = torch.randperm(self.width, generator=rng, device=found.device) if self.columns == "shared" else None
        for batch in self.states.batches():
            if self.whose is not None:
                needed = self.whose(batch.user).nonzero().flatten()
                if len(needed):
                    found[batch.user[needed]] = self._of(batch.rows(needed), narrowed(view(batch), needed), order, rng)
                continue
            found[batch.user] = self._of(batch, view(batch), order, rng)
        self.candidate = found
        self.built.fill_(epoch)

    def _of(self, batch: Batch, scorer: Scorer, order: Tensor | None, rng: torch.Generator) -> Tensor:
        """The candidates of some users: ``Int[b, K]``."""
        device = batch.user.device
        if self.rated < self.n_items:
            item = torch.randperm(self.n_items, generator=rng, device=device)[: self.rated]
        else:
            item = torch.arange(self.n_items, device=device)
        score = scorer.score(item[None]).float()  # [b, m]
        ranked = self.columns == "top" or self.columns == "shared"
        width = self.k if self.columns == "top" else self.width
        place = band(score, self._taken(batch.user, item), low=self.low, width=width, ranked=ranked)  # [b, W]
        if width > self.k:
            place = place.gather(1, self._columns(len(batch), order, rng, device))
        return torch.cat([item, item.new_full((1,), -1)]).int()[place]  # place -1 is that of -1

    def _taken(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Where the users' own items stand among those rated: (row ``Long[n]``, place ``Long[n]``)."""
        row, own = self.seen.of(user)
        if len(item) == self.n_items:
            return row, own
        place = torch.full((self.n_items,), -1, device=item.device)
        place[item] = torch.arange(len(item), device=item.device)
        place = place[own]
        there = place >= 0
        return row[there], place[there]

    def _columns(self, rows: int, order: Tensor | None, rng: torch.Generator, device) -> Tensor:
        """Which K of the band's W places each user takes: ``Long[b, K]``.

        Users of a block read one random order from a random place on: each user's K are a uniform choice.
        """
        if order is not None:
            return order[: self.k].expand(rows, -1)
        order = torch.randperm(self.width, generator=rng, device=device)
        first = torch.randint(self.width, (rows,), generator=rng, device=device)
        return torch.cat([order, order]).unfold(0, self.k, 1)[first]

    def sample(self, batch, scorer, rng):
        if not len(self.candidate):
            drawn = self.start.sample(batch, scorer, rng)
            return Negatives(drawn.item, keep=drawn.keep)
        item = self.candidate.index_select(0, batch.user)
        return Negatives(item.clamp_min(0).long(), keep=item >= 0)


def _ranks(n_items: int, p_min: float, p_max: float) -> tuple[int, int]:
    """First rank of a band of per cents, and the one behind its last; one rank at least."""
    low = min(math.floor(n_items * p_min / 100 + _SLACK), n_items - 1)
    return low, max(low + 1, math.ceil(n_items * p_max / 100 - _SLACK))
