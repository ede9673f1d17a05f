"""A few item ids remembered for every user, by item id: a pool that outlives epochs and grows harder.

Drawing hard negatives from the whole catalogue costs many scores a row. A pool keeps what was hard
the last time, and is refreshed a little at a time (``Cache``) or once an epoch (``Resampled``). A pool
is filled by draws that exclude what its user has, so it never holds a training positive.
"""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.errors import UsageError, nearest
from negsieve.rng import streams
from negsieve.samplers.base import Sampler
from negsieve.samplers.draw import Weighted
from negsieve.samplers.softmax_sample import places
from negsieve.schedule import checked
from negsieve.scorers import Narrowing, Scorer
from negsieve.seen import Seen
from negsieve.types import Batch, Negatives

UPDATES = ("is", "top")
FILLS = ("replace", "merge")
_BLOCK = 1 << 22  # scores of candidates that a refresh holds at once


class Cache(Sampler):
    """A pool ``[U, P]`` a user, of which some of P + E candidates survive each time the user is met.

    n_items      I
    seen         training pairs, which no pool ever holds
    size         P
    extra        E uniform draws that compete with the pool after a step; a user's first row in a batch counts
    temperature  of the lottery; a number or a schedule
    update       "is": P of the P + E without replacement by ``softmax(s / temperature)``; "top": the P that
                 score highest
    n_negatives  uniform draws from the pool, with replacement; None: the whole pool, for a stage to choose from
    forget       every epoch starts from uniform pools
    seed         of the first pools, which are uniform

    An id that occurs twice among the P + E competes once; it is kept twice only where a user has fewer than
    P different ids left among them. Cost: P + E score evaluations without gradient for each
    different user of a batch. Memory: 8 P bytes a user, in checkpoints.
    """

    def __init__(
        self,
        n_items: int,
        *,
        seen: Seen,
        size: int,
        extra: int,
        temperature: float | str = 1.0,
        update: str = "is",
        n_negatives: int | None = None,
        forget: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        _refuse_below_one(size=size, extra=extra, n_negatives=1 if n_negatives is None else n_negatives)
        if update not in UPDATES:
            raise UsageError(f"update={update!r}, wanted one of {', '.join(UPDATES)}.{nearest(update, UPDATES)}")
        self.size, self.n_negatives, self.update, self.forget = size, n_negatives, update, forget
        self.temperature = checked("temperature", temperature, least=1e-12)
        self.fill = Weighted(n_items, seen=seen, n_negatives=size)
        self.extra = Weighted(n_items, seen=seen, n_negatives=extra)
        self.register_buffer("item", uniform_pools(self.fill, streams("pools", seed=seed)))  # [U, P]

    def sample(self, batch, scorer, rng):
        item = self.item[batch.user]  # [B, P]
        if self.n_negatives is not None:
            item = item.gather(1, _lots(self.size, (len(batch), self.n_negatives), rng))
        return Negatives(item, keep=may_keep(self.fill, batch.user, item))

    def refresh(self, epoch, view, rng):
        if self.forget:
            self.item.copy_(uniform_pools(self.fill, rng))

    def observe(self, batch, negatives, scorer, loss, rng):
        place = first_of_each(batch.user)
        user = batch.user[place]
        item = torch.cat([self.item[user], self.extra.sample(Batch(user), scorer, rng).item], dim=1)  # [n, P + E]
        with torch.no_grad():
            score = score_rows(scorer, place, item, len(batch))
        score = score.to(torch.promote_types(score.dtype, torch.float32))
        if self.update == "is":  # the top of softmax logits with Gumbel noise are draws without replacement
            score = score / self.temperature.value - torch.empty_like(score).exponential_(generator=rng).log()
        best = score.masked_fill(repeated(item), -torch.inf).topk(self.size, dim=1).indices
        return {"user": user, "item": item.gather(1, best)}

    def learn(self, evidence):
        user, item = (torch.cat([one[name] for one in evidence]) for name in ("user", "item"))
        first = first_of_each(user)  # shards may have met the same user
        self.item[user[first]] = item[first]


class Resampled(Sampler):
    """A pool ``[U, P]`` a user, drawn before an epoch from R candidates by the model's own softmax.

    ``v = softmax_r(s_r - log q_r)`` over R draws from a law q; then P draws from v, with replacement.

    proposal     q, with R negatives a row
    size         P
    update       "replace" the pool, or "merge": P of the old and the new 2 P, uniformly without replacement
    every        epochs between two updates
    n_negatives  uniform draws from the pool a row, with replacement
    seed         of the first pools, which are uniform and give way to the first update whole

    ``log_q`` is ``log v`` of each entry: its law given the R candidates, per draw of q. Cost of sampling: none
    in scores; of an update: R score evaluations a user, in blocks of users. Memory: 12 P bytes a user,
    in checkpoints.
    """

    def __init__(
        self,
        proposal: Weighted,
        *,
        size: int,
        update: str = "replace",
        every: int = 1,
        n_negatives: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        _refuse_below_one(size=size, every=every, n_negatives=n_negatives)
        if update not in FILLS:
            raise UsageError(f"update={update!r}, wanted one of {', '.join(FILLS)}.{nearest(update, FILLS)}")
        self.size, self.update, self.every, self.n_negatives = size, update, every, n_negatives
        self.proposal = proposal
        fill = Weighted(proposal.n_items, seen=proposal.seen, n_negatives=size)
        item = uniform_pools(fill, streams("pools", seed=seed))
        log_v = torch.full(item.shape, 1.0 / proposal.n_negatives).log()
        for name, value in (("item", item), ("log_v", log_v), ("filled", torch.tensor(False))):
            self.register_buffer(name, value)

    def sample(self, batch, scorer, rng):
        place = _lots(self.size, (len(batch), self.n_negatives), rng)
        item, log_v = (table[batch.user].gather(1, place) for table in (self.item, self.log_v))
        return Negatives(item, keep=may_keep(self.proposal, batch.user, item), log_q=log_v)

    def refresh(self, epoch, view, rng):
        if epoch % self.every:
            return
        merge = self.update == "merge" and bool(self.filled)
        step = max(1, _BLOCK // self.proposal.n_negatives)
        for user in torch.arange(len(self.item), device=self.item.device).split(step):
            item, log_v = self._drawn(user, view, rng)
            if merge:
                item, log_v = torch.cat([self.item[user], item], 1), torch.cat([self.log_v[user], log_v], 1)
                lot = torch.rand(item.shape, generator=rng, device=item.device).argsort(1)[:, : self.size]
                item, log_v = item.gather(1, lot), log_v.gather(1, lot)
            self.item[user], self.log_v[user] = item, log_v
        self.filled.fill_(True)

    def _drawn(self, user: Tensor, view, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """A new pool of some users: ``Long[b, P]`` and ``log v Float[b, P]``."""
        batch = Batch(user)
        with torch.no_grad():
            scorer = view(batch)
            drawn = self.proposal.sample(batch, scorer, rng)
            log_v = (scorer.score(drawn.item).float() - drawn.log_q).log_softmax(1)  # [b, R]
        lot = torch.rand(len(user), self.size, generator=rng, device=user.device, dtype=torch.float64)
        place = places(log_v.exp(), lot)
        return drawn.item.gather(1, place), log_v.gather(1, place)


def uniform_pools(fill: Weighted, rng: torch.Generator) -> Tensor:
    """Fresh pools for all users: ``Long[U, P]`` of unseen items, any items for a user who has seen all."""
    user = torch.arange(fill.seen.n_users, device=fill.seen.offset.device)
    return fill.sample(Batch(user), None, rng).item.contiguous()


def may_keep(fill: Weighted, user: Tensor, item: Tensor) -> Tensor | None:
    """``Bool[B, K]``: False for the users who have seen every item; None where there is no such user."""
    return (fill.free[user] > 0)[:, None].expand(item.shape) if fill.saturable else None


def first_of_each(key: Tensor) -> Tensor:
    """Where each different value of ``key Long[n]`` occurs first, sorted by value; the same on every device."""
    value, order = torch.sort(key, stable=True)
    new = torch.ones_like(value, dtype=torch.bool)
    new[1:] = value[1:] != value[:-1]
    return order[new]


def repeated(item: Tensor) -> Tensor:
    """Which entries of each row of ``item Long[n, M]`` occur further left already: ``Bool[n, M]``."""
    value, order = torch.sort(item, dim=1, stable=True)
    again = torch.zeros_like(value, dtype=torch.bool)
    again[:, 1:] = value[:, 1:] == value[:, :-1]
    return torch.zeros_like(again).scatter_(1, order, again)


def score_rows(scorer: Scorer, place: Tensor, item: Tensor, rows: int) -> Tensor:
    """Scores of ``item Long[n, M]`` as the rows ``place Long[n]`` see them; one that cannot narrow rates all rows."""
    if isinstance(scorer, Narrowing):
        return scorer.rows(place).score(item)
    wide = item.new_zeros(rows, item.shape[1])
    wide[place] = item
    return scorer.score(wide)[place]


def _lots(many: int, shape: tuple[int, int], rng: torch.Generator) -> Tensor:
    """Uniform places below ``many``."""
    return torch.randint(many, shape, generator=rng, device=rng.device)


def _refuse_below_one(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise UsageError(f"{name}={value}, wanted 1 or more")
