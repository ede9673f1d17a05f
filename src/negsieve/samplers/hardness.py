"""Weights of sampled negatives that an adversary chooses so as to make the loss as large as it can."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from negsieve.errors import UsageError
from negsieve.samplers.base import Sampler, Stage
from negsieve.samplers.generator import Generator
from negsieve.samplers.select import masked_scores
from negsieve.samplers.softmax_sample import log_softmax
from negsieve.schedule import checked
from negsieve.scorers import Encoder
from negsieve.seen import Seen
from negsieve.types import Batch, Negatives


class AdversarialWeight(Stage):
    """AdvInfoNCE: ``weight_j = k N p_j`` with ``p = softmax_j(<a_u, a_j>)`` over the row's N kept negatives.

    In the ``softmax`` loss weights are factors of ``e^{s_j / t}``, so the loss is
    ``-log e^{s_i/t} / (e^{s_i/t} + k N sum_j p_j e^{s_j/t})``. The adversary climbs exactly that, by closed-form
    gradient, before every ``every``-th epoch but the first, ``adv_epochs`` times in all, on the frozen
    recommender.

    adversary    the vectors ``a``
    source       the negatives that it climbs on
    seen         the training pairs that it climbs on
    k            a number or a schedule
    temperature  t, which must be the loss's
    every        epochs from one climb to the next
    adv_epochs   climbs in all; then the adversary stays as it is
    max_pairs    training pairs a climb, drawn anew each time
    batch_size   pairs a step
    max_kl       the most that a row's ``KL(p || uniform)`` may be: a sharper ``p`` is mixed with the uniform one,
                 and the row climbs no further

    ``kl`` holds the mean divergence at the last climb. Weights replace earlier ones. Cost: N scores of the
    adversary a row; a climb N + 1 of the recommender a pair.
    Zhang et al., NeurIPS 2023.
    """

    def __init__(
        self,
        adversary: Generator,
        source: Sampler,
        *,
        seen: Seen,
        k: float | str = 64.0,
        temperature: float | str = 0.2,
        every: int = 5,
        adv_epochs: int = 7,
        max_pairs: int = 100_000,
        batch_size: int = 1024,
        max_kl: float = 1.0,
    ) -> None:
        super().__init__()
        if not max_kl > 0:
            raise UsageError(f"max_kl={max_kl}, wanted a number above 0: at 0 all weights would be equal")
        self.adversary, self.source, self.seen = adversary, source, seen
        self.k, self.temperature = checked("k", k, least=1e-12), checked("temperature", temperature, least=1e-12)
        self.every, self.adv_epochs, self.max_kl = every, adv_epochs, max_kl
        self.max_pairs, self.batch_size = max_pairs, batch_size
        self.register_buffer("kl", torch.tensor(0.0))

    @torch.no_grad()
    def refine(self, negatives, batch, scorer, rng):
        share, _ = self.shares(negatives, batch)
        return replace(negatives, weight=self.k.value * _many(negatives) * share)

    def shares(self, negatives: Negatives, batch: Batch) -> tuple[Tensor, Tensor]:
        """``p Float[B, N]``, and the divergence ``Float[B]`` that it had before it was capped."""
        log_p = log_softmax(masked_scores(negatives, self.adversary(batch)))
        share = log_p.exp()
        if negatives.keep is not None:
            share = share.masked_fill(~negatives.keep, 0.0)
        many = _many(negatives)
        excess = log_p + torch.as_tensor(many, dtype=log_p.dtype, device=log_p.device).log()
        kl = torch.where(share > 0, share * excess, 0.0).sum(1)
        # KL(r p + (1 - r) u || u) <= r KL(p || u), because it is convex in p
        part = (self.max_kl / kl.clamp_min(1e-12)).clamp_max(1.0)[:, None]
        even = torch.ones_like(share) if negatives.keep is None else negatives.keep.to(share.dtype)
        return part * share + (1 - part) * even / many, kl

    @torch.no_grad()
    def refresh(self, epoch, view, rng):
        if epoch == 0 or epoch % self.every or epoch // self.every > self.adv_epochs:
            return
        order = torch.randperm(len(self.seen), generator=rng, device=rng.device)[: self.max_pairs]
        found = [self._climb(place, view, rng) for place in order.split(self.batch_size)]
        self.kl.fill_(torch.stack(found).mean())

    def _climb(self, place: Tensor, view: Encoder, rng: torch.Generator) -> Tensor:
        """One step up on some training pairs; returns their mean divergence."""
        batch = Batch(self.seen.owner_at(place), self.seen.at(place))
        scorer = view(batch)
        drawn = self.source.sample(batch, scorer, rng)
        share, kl = self.shares(drawn, batch)
        positive = scorer.score(batch.item[:, None]) / self.temperature.value  # [B, 1]
        factor = (self.k.value * _many(drawn) * share).log()
        other = masked_scores(drawn, scorer) / self.temperature.value + factor
        odds = torch.cat([positive, other], dim=1).softmax(1)[:, 1:]  # [B, N] d loss / d log p_j
        slope = odds - share * odds.sum(1, keepdim=True)  # d loss / d <a_u, a_j>
        self.adversary.move(batch.user, -slope * (kl < self.max_kl)[:, None], drawn.item.expand(len(batch), -1))
        return kl.mean()


def _many(negatives: Negatives) -> Tensor | int:
    """How many negatives count, ``[B, 1]`` or for all rows alike."""
    if negatives.keep is None:
        return negatives.item.shape[1]
    return negatives.keep.sum(1, keepdim=True).clamp_min(1)
