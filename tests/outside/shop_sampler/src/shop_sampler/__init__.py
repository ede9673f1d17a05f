"""A shop that files like goods together: negatives from the shelf beside the positive."""

import torch

from negsieve.samplers.base import Chain, Sampler
from negsieve.samplers.filter import NotSeen
from negsieve.samplers.select import Hardest
from negsieve.types import Negatives


class Nearby(Sampler):
    """Items whose id lies within ``width`` of the positive's."""

    def __init__(self, n_items: int, width: int = 5, k: int = 4) -> None:
        super().__init__()
        self.n_items, self.width, self.k = n_items, width, k

    def sample(self, batch, scorer, rng):
        shape, device = (len(batch), self.k), batch.item.device
        step = torch.randint(1, self.width + 1, shape, generator=rng, device=device)
        sign = 2 * torch.randint(2, shape, generator=rng, device=device) - 1
        return Negatives((batch.item[:, None] + sign * step) % self.n_items)


def nearby(n_items: int, *, seen, width: int = 5, k: int = 4, m: int = 1) -> Sampler:
    """The ``m`` hardest of ``k`` items near the positive that the user has not seen."""
    return Chain(Nearby(n_items, width, k), NotSeen(seen), Hardest(m))
