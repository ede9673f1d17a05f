"""Matrix factorisation: a vector for every user and every item (Koren, Bell, Volinsky 2009)."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from negsieve.models.base import Model, check_temperature, row_penalty, similarity_is_cosine, start_tables
from negsieve.scorers import Towers


class MF(Model):
    """Scores by the dot product, or the cosine over a temperature, of two embeddings.

    dim          width D
    init         "normal" (standard deviation ``init_std``) or "xavier_uniform", a table at a time
    similarity   "dot" or "cosine"
    temperature  divides the score

    Memory: 4 * D * (U + I) bytes, three times that while Adam trains.
    """

    noisy = False

    def __init__(
        self,
        n_users: int,
        n_items: int,
        *,
        dim: PositiveInt = 64,
        init: Literal["normal", "xavier_uniform"] = "normal",
        init_std: PositiveFloat = 0.1,
        similarity: Literal["dot", "cosine"] = "dot",
        temperature: PositiveFloat = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.n_users, self.n_items, self.dim = n_users, n_items, dim
        self.cosine, self.temperature = similarity_is_cosine(similarity), check_temperature(temperature)
        self.user, self.item = start_tables(n_users, n_items, dim=dim, init=init, std=init_std, seed=seed)

    def _towers(self, user: Tensor, item: Tensor) -> Towers:
        return Towers(user, item, cosine=self.cosine, temperature=self.temperature)

    def encode(self, batch):
        return self._towers(self.user, self.item)(batch)

    def penalty(self, batch, negatives):
        return row_penalty(self.user, self.item, batch, negatives)

    def frozen(self):
        return self._towers(self.user.detach(), self.item.detach())
