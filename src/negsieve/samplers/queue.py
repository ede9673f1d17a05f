"""Negatives from earlier batches: the vectors that the model gave them then wait in a queue (CBNS).

A batch can lend only its own rows as negatives. Vectors move slowly once training has settled, so
those of the last few batches are nearly as good, and cost a dot product but no encoder.
"""

from __future__ import annotations

import torch

from negsieve.errors import UsageError
from negsieve.samplers.base import LawfulSampler
from negsieve.samplers.filter import refuse_leak, unseen
from negsieve.seen import Seen
from negsieve.types import Negatives


class Queue(LawfulSampler):
    """The last M positives of training with the vectors they had, first in, first out (Wang, Zhu & He, SIGIR 2021).

    popularity  ``Long[I]``, train counts: positives enter as often as they are in the training table
    seen        masks what the row's user has; the row's own positive is masked too
    dim         D, the width of the model's vectors
    size        M
    warm_up     epochs, counted from 0, in which the queue fills but nothing in it is kept: young vectors
                move too fast to be remembered

    Gives ``item [1, M]`` and ``vector [1, M, D]``, without gradient into the queue. ``log_q`` is the
    training frequency. What entered never changes until it leaves. Uses no randomness. Cost: M dot
    products a positive. Memory: ``4 D + 8`` bytes an entry, in checkpoints.
    """

    needs = frozenset({"vectors"})
    synthetic = True
    advice = "Without vectors, earlier batches cannot be remembered: in_batch and mns need scores alone."

    def __init__(self, popularity: torch.Tensor, *, seen: Seen, dim: int, size: int = 4096, warm_up: int = 1) -> None:
        super().__init__()
        refuse_leak(seen)
        if size < 1 or warm_up < 0:
            raise UsageError(f"size={size}, warm_up={warm_up}: wanted a queue of 1 or more, and 0 or more epochs")
        self.seen, self.size, self.warm_up = seen, size, warm_up
        count = popularity.double()
        log_share = (count.clamp_min(1) / count.sum().clamp_min(1)).log().float()
        self.register_buffer("log_share", log_share, persistent=False)
        self.register_buffer("item", torch.zeros(size, dtype=torch.long))
        self.register_buffer("vector", torch.zeros(size, dim))
        self.register_buffer("entered", torch.tensor(0))
        self.register_buffer("open", torch.tensor(warm_up == 0))

    def sample(self, batch, scorer, rng):
        item = self.item[None].clone()  # [1, M]
        keep = unseen(self.seen, batch.user, item)
        keep &= self.open & (torch.arange(self.size, device=item.device) < self.entered)
        own = None if batch.item is None else self.log_share[batch.item]
        if batch.item is not None:
            keep &= item != batch.item[:, None]
        vector = self.vector[None].clone()
        return Negatives(item, keep=keep, log_q=self.log_share[item], positive_log_q=own, vector=vector)

    def log_prob(self, batch, item):
        """The training frequency, ``[B|1, M]`` as ``item``; an item that never occurs counts as one occurrence."""
        return self.log_share[item]

    def refresh(self, epoch, view, rng):
        self.open.fill_(epoch >= self.warm_up)

    def observe(self, batch, negatives, scorer, loss, rng):
        return {"item": batch.item, "vector": scorer.vectors(batch.item).detach()}

    def learn(self, evidence):
        item, vector = (torch.cat([one[name] for one in evidence]) for name in ("item", "vector"))
        place = (self.entered + torch.arange(len(item), device=item.device)) % self.size
        self.entered += len(item)
        place, item, vector = (side[-self.size :] for side in (place, item, vector))  # no place twice
        self.item[place] = item
        self.vector[place] = vector.to(self.vector.dtype)
