"""A fixed number of columns of negatives, some of them hard: random, general and cross-domain side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from negsieve.errors import UsageError
from negsieve.samplers.base import Composition, Sampler
from negsieve.samplers.combine import narrowed, own_vectors, spread
from negsieve.samplers.curriculum import Plan
from negsieve.samplers.prior import Remembered
from negsieve.samplers.select import choose
from negsieve.scorers import Scorer
from negsieve.types import ORIGINS, Batch, Negatives

RANDOM, GENERAL, CROSS, FALLBACK = range(len(ORIGINS))
SPARE = ("general", "random")


class Columns(Composition, Sampler):
    """The random sampler's K columns, of which the first give way to hard ones as the plan of the epoch says.

    random     draws K
    general    draws the hard ones, as many as the plan's ``general + cross`` ever are
    cross      draws cross-domain hard ones for the rows of ``whose``, as many as the plan's ``cross`` ever are
    plan       the columns of each kind by the epoch
    whose      ``user Long[B] -> Bool[B]``: rows that get cross-domain ones
    spare      what the others have in these columns: "general" ones, or "random"
    noiseless  the hard are chosen by scores without dropout

    Columns: general, then cross, then random. A hard draw with ``keep=False`` becomes the random one of its column
    (``origin`` says "fallback"), so K never changes. Nothing of a hard sampler is refreshed or asked while the
    plan has none of its kind, and ``cross`` is asked about its rows alone. Synthetic hard negatives make vectors of
    all columns. Cost: that of the samplers asked.
    """

    def __init__(
        self,
        random: Sampler,
        general: Sampler,
        cross: Sampler | None = None,
        *,
        plan: Plan,
        whose: Callable[[Tensor], Tensor] | None = None,
        spare: str = "general",
        noiseless: bool = True,
    ) -> None:
        super().__init__()
        if (cross is None) != (whose is None):
            raise UsageError("a cross-domain sampler needs to know whose rows it serves, and a rule a sampler to serve")
        hard, width = sum(plan.most()), getattr(random, "n_negatives", None)
        if width is not None and hard > width:
            raise UsageError(f"{hard} hard columns of {width}: draw more random negatives, or plan fewer hard ones")
        if spare not in SPARE:
            raise UsageError(f"spare={spare!r}, wanted {' or '.join(SPARE)}")
        self.random, self.general, self.cross = random, general, cross
        self.plan, self.whose, self.spare, self.noiseless = plan, whose, spare, noiseless
        self.register_buffer("now", torch.tensor(plan.counts(0)))

    def parts(self):
        return [one for one in (self.random, self.general, self.cross) if one is not None]

    def refresh(self, epoch, view, rng):
        general, cross = self.plan.counts(epoch)
        self.now.copy_(torch.tensor((general, cross)))
        view = Remembered(view)
        self.random.refresh(epoch, view, rng)
        if general + cross:
            self.general.refresh(epoch, view, rng)
        if cross and self.cross is not None:
            self.cross.refresh(epoch, view, rng)

    def sample(self, batch, scorer, rng):
        random = spread(self.random.sample(batch, scorer, rng), len(batch))
        random = Negatives(random.item, keep=random.keep)
        general, cross = self.now.tolist()
        many = general + cross
        if not many:
            return replace(random, origin=torch.zeros_like(random.item, dtype=torch.int8))
        hard = spread(self.general.sample(batch, scorer, rng), len(batch))
        hard = self._cut(hard, many, GENERAL)
        if cross and self.cross is not None:
            hard = self._crossed(hard, batch, scorer, rng, general, cross)
        return _beside(hard, random, scorer)

    def _cut(self, drawn: Negatives, many: int, origin: int) -> Negatives:
        """The first columns of a draw, with all that is used of them."""
        if drawn.item.shape[1] < many:
            raise UsageError(f"{many} hard columns wanted, and their sampler draws {drawn.item.shape[1]}: draw more")
        place = torch.arange(many, device=drawn.item.device).expand(len(drawn.item), -1)
        found = choose(Negatives(drawn.item, keep=drawn.keep, vector=drawn.vector), place)
        keep = torch.ones_like(found.item, dtype=torch.bool) if found.keep is None else found.keep
        return replace(found, keep=keep, origin=torch.full_like(found.item, origin, dtype=torch.int8))

    def _crossed(
        self, hard: Negatives, batch: Batch, scorer: Scorer, rng: torch.Generator, general: int, cross: int
    ) -> Negatives:
        """``hard`` with the columns from ``general`` on of the rows of ``whose`` drawn by ``cross``."""
        mine = self.whose(batch.user)
        if self.spare == "random":
            away = ~mine[:, None] & (torch.arange(general + cross, device=mine.device) >= general)
            hard = replace(hard, keep=hard.keep & ~away, origin=hard.origin.masked_fill(away, RANDOM))
        place = mine.nonzero().flatten()
        if not len(place):
            return hard
        drawn = self.cross.sample(batch.rows(place), narrowed(scorer, place, of=len(batch)), rng)
        drawn = self._cut(spread(drawn, len(place)), cross, CROSS)
        if drawn.vector is None and hard.vector is not None:
            drawn = replace(drawn, vector=own_vectors(drawn, scorer))
        at = (place[:, None], general + torch.arange(cross, device=place.device))

        def put(name: str) -> Tensor | None:
            all_rows, some = getattr(hard, name), getattr(drawn, name)
            return None if all_rows is None else all_rows.index_put(at, some.to(all_rows.dtype))

        return Negatives(**{name: put(name) for name in ("item", "keep", "vector", "origin")})


def _beside(hard: Negatives, random: Negatives, scorer: Scorer) -> Negatives:
    """The random columns with the first ones replaced by the hard ones that are kept."""
    many = hard.item.shape[1]
    item = torch.cat([torch.where(hard.keep, hard.item, random.item[:, :many]), random.item[:, many:]], dim=1)
    keep = random.keep
    if keep is not None:
        keep = torch.cat([hard.keep | keep[:, :many], keep[:, many:]], dim=1)
    fallen = torch.where(hard.origin == RANDOM, RANDOM, FALLBACK).to(torch.int8)
    origin = torch.zeros_like(item, dtype=torch.int8)
    origin[:, :many] = torch.where(hard.keep, hard.origin, fallen)
    vector = None
    if hard.vector is not None:
        own = own_vectors(random, scorer)  # [B, K, D]
        vector = torch.cat([torch.where(hard.keep[..., None], hard.vector, own[:, :many]), own[:, many:]], dim=1)
    return Negatives(item, keep=keep, vector=vector, origin=origin)
