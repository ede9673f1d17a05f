"""A second, small recommender that proposes negatives and is itself trained, against the first.

The first, the one that the trainer fits, judges; it is the one that is evaluated and served. IRGAN's
paper serves the generator instead.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from negsieve.rng import streams
from negsieve.samplers.adversary import Descent
from negsieve.samplers.base import Sampler
from negsieve.scorers import Dot, gather
from negsieve.seen import Seen
from negsieve.types import Batch

_STD, _PAIRS = 0.1, 1024  # of the start; training pairs a step of the pre-training


class Generator(nn.Module):
    """Matrix factorisation in buffers, ``Batch -> Dot``: ``z_uj = <a_u, a_j>``, or their cosine.

    width    of its vectors
    lr       its learning rate, a number or a schedule
    rule     "adam" or "sgd"
    cosine   compare by cosine
    seed     of its start, normal with a standard deviation of .1

    Memory: ``(U + I) * width`` floats, three times that with Adam.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        *,
        width: int = 16,
        lr: float | str = 0.01,
        rule: str = "adam",
        cosine: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.cosine = cosine
        start = [
            torch.empty(many, width).normal_(0, _STD, generator=streams(f"generator {side}", seed=seed))
            for side, many in (("user", n_users), ("item", n_items))
        ]
        self.user, self.item = (Descent(table, lr=lr, rule=rule) for table in start)

    def forward(self, batch: Batch) -> Dot:
        """Its own view of a batch."""
        return Dot(gather(self.user.table, batch.user), self.item.table, cosine=self.cosine)

    @torch.no_grad()
    def move(self, user: Tensor, slope: Tensor, item: Tensor | None = None) -> None:
        """One step down, given ``slope Float[B, M]``, a loss's derivative by each ``z_uj``.

        ``user Long[B]``, ``item Long[B, M]``; None: slopes of all items, ``[B, I]``. Rows add up, so that a
        step of SGD on a batch is, to first order, as many steps on single rows.
        """
        query = gather(self.user.table, user)  # [B, D]
        slope = slope.to(query.dtype)
        if item is None:
            assert not self.cosine, "slopes of all items are for dot products"
            self._step(user, slope @ self.item.table, slope.T @ query)
            return
        vector = gather(self.item.table, item)  # [B, M, D]
        by_query, by_vector = vector, query[:, None].expand_as(vector)
        if self.cosine:
            by_query, by_vector = _along(query[:, None], vector), _along(vector, query[:, None])
        by_vector = slope[..., None] * by_vector
        self._step(user, torch.einsum("bm,bmd->bd", slope, by_query), by_vector.flatten(0, 1), item.reshape(-1))

    def _step(self, user: Tensor, by_user: Tensor, by_item: Tensor, item: Tensor | None = None) -> None:
        self.user.step(by_user, user)
        self.item.step(by_item, item)

    @torch.no_grad()
    def pretrain(self, source: Sampler, seen: Seen, *, passes: int, rng: torch.Generator) -> None:
        """BPR on the training pairs, against one negative of ``source`` each: ``passes`` times over all."""
        for _ in range(passes):
            for place in torch.randperm(len(seen), generator=rng, device=rng.device).split(_PAIRS):
                batch = Batch(seen.owner_at(place), seen.at(place))
                drawn = source.sample(batch, self(batch), rng)
                pair = torch.stack([batch.item, drawn.item[:, 0]], dim=1)  # [B, 2]
                own, other = self(batch).score(pair).unbind(1)
                pull = torch.sigmoid(other - own)
                if drawn.keep is not None:
                    pull = pull * drawn.keep[:, 0]
                self.move(batch.user, torch.stack([-pull, pull], dim=1), pair)


def reinforce(share: Tensor, place: Tensor, credit: Tensor) -> Tensor:
    """REINFORCE by hand: the slope of ``-mean_s credit_s log p(place_s)`` by the scores of a softmax.

    ``share Float[B, M]`` is p, ``place Long[B, S]`` the draws, ``credit Float[B, S]`` what each earned (times its
    importance weight, less a baseline) -> ``Float[B, M]``. Where draws follow p and credit is the reward,
    its expectation is the slope of ``-E_p[reward]``.
    """
    credit = credit.to(share.dtype) / credit.shape[1]
    return (share * credit.sum(1, keepdim=True)).scatter_add_(1, place, -credit)


def _along(moved: Tensor, other: Tensor) -> Tensor:
    """The derivative of a cosine by ``moved``: ``[B, M|1, D]`` both -> ``[B, M, D]``."""
    length = moved.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    moved, other = moved / length, torch.nn.functional.normalize(other, dim=-1)
    return (other - (moved * other).sum(-1, keepdim=True) * moved) / length
