"""Negatives drawn from another model's softmax over the whole catalogue: what a generator proposes.

``Policy`` is the draw, ``CatalogueActor`` the generator that learns, by REINFORCE, which items the
recommender wrongly likes.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from negsieve.errors import UsageError
from negsieve.samplers.base import Composition, LawfulSampler, Learner, Sampler
from negsieve.samplers.filter import refuse_leak
from negsieve.samplers.generator import Generator, reinforce
from negsieve.samplers.softmax_sample import places
from negsieve.schedule import checked
from negsieve.scorers import Encoder
from negsieve.seen import Seen
from negsieve.types import Batch, Negatives

_CELLS = 1 << 20  # scores of the catalogue held at once: more would leave the cache


class Policy(Composition, LawfulSampler):
    """K draws a row from ``q(j) = softmax_j(z_uj / temperature)`` over all items that the row may have.

    view         whose scores ``z`` are; a Learner has its hooks called too
    seen         what each user has
    n_negatives  K; draws are with replacement
    temperature  a number or a schedule
    exclude      "train": nothing that the user has in ``seen``; "none": any item

    ``log_q`` is exact. A user who has every item gets ``keep=False``. Cost: I scores of ``view`` a row,
    in blocks of rows, so that no users x items table arises; no score of the recommender.
    """

    def __init__(
        self,
        view: Encoder,
        *,
        seen: Seen,
        n_negatives: int = 1,
        temperature: float | str = 1.0,
        exclude: Literal["train", "none"] = "train",
    ) -> None:
        super().__init__()
        refuse_leak(seen)
        if exclude not in ("train", "none"):
            raise UsageError(f"exclude={exclude!r}, wanted train or none")
        self.view, self.seen, self.exclude, self.n_negatives = view, seen, exclude, n_negatives
        self.temperature = checked("temperature", temperature, least=1e-12)
        self.saturable = exclude == "train" and bool((seen.degree() >= seen.n_items).any())

    @torch.no_grad()
    def sample(self, batch, scorer, rng):
        lot = torch.rand(len(batch), self.n_negatives, generator=rng, device=batch.user.device, dtype=torch.float64)
        size, found = max(1, _CELLS // self.seen.n_items), []
        for user, part in zip(batch.user.split(size), lot.split(size), strict=True):
            share = self._score(user).softmax(1)  # [b, I]
            place = places(share, part)
            found.append((place, share.gather(1, place).log()))
        item, log_q = (torch.cat(side) for side in zip(*found, strict=True))
        keep = None
        if self.saturable:
            keep = (self.seen.degree(batch.user) < self.seen.n_items)[:, None].expand(item.shape)
        return Negatives(item, keep=keep, log_q=log_q)

    @torch.no_grad()
    def log_prob(self, batch, item):
        size = max(1, _CELLS // self.seen.n_items)
        item = item.expand(len(batch), -1)
        blocks = zip(batch.user.split(size), item.split(size), strict=True)
        return torch.cat([self._score(user).log_softmax(1).gather(1, own) for user, own in blocks])

    def _score(self, user: Tensor) -> Tensor:
        """Scores of all items over the temperature, ``-inf`` for what the user may not have: ``Float[b, I]``."""
        score = self.view(Batch(user)).score(torch.arange(self.seen.n_items, device=user.device)[None])
        score = score / self.temperature.value
        if self.exclude == "train":
            row, own = self.seen.of(user)
            score[row, own] = -torch.inf
        if self.saturable:  # nothing to draw from: whatever is drawn is not kept
            score.masked_fill_(self.seen.degree(user)[:, None] >= self.seen.n_items, 0.0)
        return score


class CatalogueActor(Learner):
    """A generator over all items, trained in phases of its own while the recommender stands still.

    Before every ``every``-th epoch but the first, for each user: S draws from ``n(j) = (1 - share) p(j) +
    share / |I_u|``, ``p`` being the generator's softmax over all items and the second part the user's own
    training items; each earns ``p / n`` times its reward; one step of REINFORCE a batch of users.

    generator   what is trained; a view: ``Batch -> Scorer``
    source      the negatives of its pre-training by BPR, at the first refresh
    seen        the training pairs
    reward      "sigmoid": ``2 (sigmoid(s) - .5)`` of the recommender's score; "log": ``log(1 + e^s)``
    baseline    "none"; "mean": less the mean reward of the user's other draws, which changes no expectation
    share       of the user's own items among the draws
    samples     S
    every       epochs a phase
    passes      over all users, a phase
    batch_size  users a step
    pretrain    passes over the training pairs by BPR

    Cost: 2 I scores of the generator and S of the recommender a user and pass.
    """

    def __init__(
        self,
        generator: Generator,
        source: Sampler,
        *,
        seen: Seen,
        reward: Literal["sigmoid", "log"] = "sigmoid",
        baseline: Literal["none", "mean"] = "none",
        share: float = 0.2,
        samples: int = 32,
        every: int = 2,
        passes: int = 1,
        batch_size: int = 64,
        pretrain: int = 5,
    ) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise UsageError(f"share={share}, wanted 0 to below 1: what only the user's items can give has no weight")
        if baseline == "mean" and samples < 2:
            raise UsageError("baseline=mean is the mean of a user's other draws: give samples=2 or more")
        self.generator, self.source, self.seen = generator, source, seen
        self.reward, self.baseline, self.share, self.samples = reward, baseline, share, samples
        self.every, self.passes, self.batch_size, self.pretrain = every, passes, batch_size, pretrain
        self.register_buffer("ready", torch.tensor(False))
        self.register_buffer("users", seen.degree().nonzero().flatten(), persistent=False)

    def forward(self, batch: Batch):
        """The generator's view of a batch."""
        return self.generator(batch)

    @torch.no_grad()
    def refresh(self, epoch, view, rng):
        if not bool(self.ready):
            self.generator.pretrain(self.source, self.seen, passes=self.pretrain, rng=rng)
            self.ready.fill_(True)
        if epoch == 0 or epoch % self.every:
            return
        for _ in range(self.passes):
            order = torch.randperm(len(self.users), generator=rng, device=rng.device)
            for user in self.users[order].split(self.batch_size):
                self._step(user, view, rng)

    def _step(self, user: Tensor, view: Encoder, rng: torch.Generator) -> None:
        every = torch.arange(self.seen.n_items, device=user.device)[None]
        share = self.generator(Batch(user)).score(every).softmax(1)  # [b, I]
        place, ratio = self.draw(user, share, rng)  # [b, S]
        reward = earned(view(Batch(user)).score(place), self.reward)
        self.generator.move(user, reinforce(share, place, self.credit(reward, ratio)))

    def draw(self, user: Tensor, share: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """S draws a user from the mixture, and ``p / n`` of each: ``Long[b, S]``, ``Float[b, S]``."""
        lot = torch.rand(3, len(user), self.samples, generator=rng, device=user.device, dtype=torch.float64)
        degree = self.seen.degree(user)[:, None]
        own = self.seen.at(self.seen.offset[user][:, None] + (lot[0] * degree).long())
        place = torch.where(lot[1] < self.share, own, places(share, lot[2]))
        p = share.gather(1, place)
        n = (1 - self.share) * p + self.share * self.seen.contains(user, place) / degree
        return place, p / n

    def credit(self, reward: Tensor, ratio: Tensor) -> Tensor:
        """The reward less its baseline, times the importance weight: ``Float[b, S]`` each."""
        if self.baseline == "mean":
            reward = reward - (reward.sum(1, keepdim=True) - reward) / (self.samples - 1)
        return ratio * reward


def earned(score: Tensor, reward: str) -> Tensor:
    """What a generator earns by items that the recommender scores so: the more, the better it likes them."""
    return softplus(score) if reward == "log" else 2 * torch.sigmoid(score) - 1
