"""What models of two domains share: how they are trained, judged and read, whatever they make of the two states."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from negsieve.histories import Aside, Histories
from negsieve.models.base import Model, item_penalty
from negsieve.models.pair import Fusion, Pair
from negsieve.rng import derive
from negsieve.scorers import Crossed, Towers
from negsieve.types import Batch

_TOGETHER = 256  # users encoded together where all are wanted


class CrossModel(Model):
    """A model whose query is ``fusion(source state, target state)``.

    cosine, temperature  of its ``Crossed``
    penalised            whether the penalty is that of the scored items, or nothing
    """

    pair: Pair
    fusion: Fusion
    order: str
    cosine: bool
    temperature: float
    penalised: bool

    @abstractmethod
    def sides(
        self, batch: Batch, histories: Histories | None = None, aside: Aside | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The source states, the target states ``Float[B, D]``, and whether any source row came before ``Bool[B]``."""

    def scorer(self, batch: Batch, histories: Histories | None = None, aside: Aside | None = None) -> Crossed:
        """One forward pass; ``histories`` and ``aside`` as in ``Pair.asked``."""
        source, target, met = self.sides(batch, histories, aside)
        return Crossed(
            self.fusion(source, target),
            self.pair.target.item if torch.is_grad_enabled() else self.pair.target.item.detach(),
            source=source,
            target=target,
            met=met,
            fuse=self.fusion if torch.is_grad_enabled() else self._fused_still,
            cosine=self.cosine,
            temperature=self.temperature,
        )

    @torch.no_grad()
    def _fused_still(self, source: Tensor, target: Tensor) -> Tensor:
        return self.fusion(source, target)

    def starts(self):
        return {"model": "", "target": "pair.target.", "source": "pair.source."}

    def step_bytes(self, rows, drawn):
        return super().step_bytes(rows, drawn) + 2 * rows * self.pair.target.encoder.token_bytes(self.pair.max_len)

    def groups(self):
        return self.pair.windows.groups

    def encode(self, batch):
        return self.scorer(batch)

    def penalty(self, batch, negatives):
        item = self.pair.target.item
        return item_penalty(item, batch, negatives) if self.penalised else item.new_zeros(len(batch))

    def frozen(self):
        return CrossReader(self)


class CrossReader:
    """The frozen encoder: a user's query is made of the states after the user's histories in both domains.

    It reads what ``Pair.asked`` says. There is no dropout and no gradient.
    """

    def __init__(self, model: CrossModel, histories: Histories | None = None, aside: Aside | None = None) -> None:
        self._model, self._histories = model, histories
        self.aside = model.pair.aside if aside is None else aside
        self.order, self.item = model.order, model.pair.target.item.detach()

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Crossed:
        return self._model.scorer(replace(batch, noise=None), self._histories, self.aside)

    def reading(self, histories: Histories, aside: Aside | None = None) -> CrossReader:
        """The same model with other histories of the users, and other source rows beside them."""
        device = self.item.device
        return CrossReader(self._model, histories.to(device), None if aside is None else aside.to(device))

    def towers(self) -> Towers:
        """All users encoded: their queries as a table. Cost: a forward pass over all histories in both domains."""
        users = torch.arange(self._model.n_users, device=self.item.device)
        query = torch.cat([self(Batch(some)).query for some in users.split(_TOGETHER)])
        return Towers(query, self.item, cosine=self._model.cosine, temperature=self._model.temperature)


def noises(noise: int | None) -> tuple[int | None, int | None]:
    """The keys of the two encoders' dropout, source and target: the masks of one say nothing of the other's."""
    return None if noise is None else derive("source domain", seed=noise), noise
