"""Matrix factorisation: a vector for every user and every item (Koren, Bell, Volinsky 2009)."""

from __future__ import annotations

import torch
from torch import nn

from negsieve.models.base import Model, row_penalty
from negsieve.rng import streams
from negsieve.scorers import Towers


class MF(Model):
    """Scores by the dot product, or the cosine over a temperature, of two embeddings.

    dim          width D
    init         "normal" (standard deviation ``init_std``) or "xavier_uniform", a table at a time
    similarity   "dot" or "cosine"
    temperature  divides the score

    Memory: 4 * D * (U + I) bytes, three times that while Adam trains.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        *,
        dim: int = 64,
        init: str = "normal",
        init_std: float = 0.1,
        similarity: str = "dot",
        temperature: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.n_users, self.n_items = n_users, n_items
        self.cosine, self.temperature = _similarity(similarity), temperature
        self.user, self.item = embeddings(n_users, n_items, dim, init, init_std, seed)

    def _towers(self, user, item) -> Towers:
        return Towers(user, item, cosine=self.cosine, temperature=self.temperature)

    def encode(self, batch):
        return self._towers(self.user, self.item)(batch)

    def penalty(self, batch, negatives):
        return row_penalty(self.user, self.item, batch, negatives)

    def frozen(self):
        return self._towers(self.user.detach(), self.item.detach())


def embeddings(n_users: int, n_items: int, dim: int, init: str, std: float, seed: int):
    """Two fresh tables ``[U, D]`` and ``[I, D]`` from the "init" stream of ``seed``."""
    rng = streams("init", seed=seed)
    tables = [torch.empty(n, dim) for n in (n_users, n_items)]
    for table in tables:
        if init == "normal":
            nn.init.normal_(table, std=std, generator=rng)
        elif init == "xavier_uniform":
            nn.init.xavier_uniform_(table, generator=rng)
        else:
            raise ValueError(f"init={init!r}, wanted 'normal' or 'xavier_uniform'")
    return nn.Parameter(tables[0]), nn.Parameter(tables[1])


def _similarity(name: str) -> bool:
    if name not in ("dot", "cosine"):
        raise ValueError(f"similarity={name!r}, wanted 'dot' or 'cosine'")
    return name == "cosine"
