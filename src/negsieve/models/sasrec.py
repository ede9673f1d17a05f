"""SASRec: the next item by self-attention over the items before it (Kang and McAuley, ICDM 2018).

A window of a user's items runs through the encoder once, and its every position is a query for the item
that came next. So a row of the training table costs one token, where a padded history a row costs as many
tokens as the longest history may have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from negsieve.errors import UsageError
from negsieve.histories import Aside, Histories, Windows
from negsieve.models import packing
from negsieve.models.base import Model, check_temperature, item_penalty, one_of, similarity_is_cosine
from negsieve.models.pair import refuse_unfit
from negsieve.models.selfattention import SelfAttention
from negsieve.rng import streams
from negsieve.scorers import Dot, Towers
from negsieve.types import Batch

_TOGETHER = 256  # users encoded together where all are wanted


class SASRec(Model):
    """Self-attention over a user's last items, scored against the item table that it reads.

    history        ``order -> Histories`` of the train part
    max_len        the items that a history holds at most, T
    blocks, heads  of self-attention; ``dim`` is a multiple of ``heads``
    dropout        share, on embeddings, attention weights and feed-forward layers, while training
    windows        "all": every row with one before it is a target; "last": those of each user's last window
                   alone, as the authors train
    overlap        inputs of a window that are history only, where a sequence is longer than ``max_len``
    pad_attention  "masked", or "reference": as the authors' grid of T places computes it, whose empty places
                   take part in attention
    order          what a user's rows stand in: "time", or "given" for the order of the log
    penalty        what ``train.l2`` acts on: nothing, or the vectors of the "items" that a row scores
    dim, similarity, temperature  as in ``MF``

    ``x = dropout(sqrt(D) E[item] + P[place])``, places counted from the end of the window; blocks as in
    ``selfattention.Block``; a final LayerNorm. A row without anything before it has that norm's bias.

    Cost of a forward pass: ``blocks * (12 D^2 + 4 T D)`` operations a token, a token a target and ``overlap`` more
    a window; three times that with gradients. Memory: ``4 D (I + T + 6 D blocks)`` bytes of weights, 24 bytes a
    train row of order, and while training about ``4 blocks (20 D + 3 heads T)`` bytes a token of the batch.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        *,
        history: Callable[[str], Histories],
        dim: PositiveInt = 64,
        max_len: PositiveInt = 50,
        blocks: PositiveInt = 2,
        heads: PositiveInt = 1,
        dropout: NonNegativeFloat = 0.2,
        windows: Literal["all", "last"] = "all",
        overlap: NonNegativeInt = 0,
        pad_attention: Literal["masked", "reference"] = "masked",
        order: Literal["time", "given"] = "time",
        penalty: Literal["none", "items"] = "none",
        similarity: Literal["dot", "cosine"] = "dot",
        temperature: PositiveFloat = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.n_users, self.n_items, self.dim, self.max_len, self.order = n_users, n_items, dim, max_len, order
        self.cosine, self.temperature = similarity_is_cosine(similarity), check_temperature(temperature)
        self.penalised = one_of("penalty", penalty, ("none", "items")) == "items"
        last_only = one_of("windows", windows, ("all", "last")) == "last"
        reference = one_of("pad_attention", pad_attention, ("masked", "reference")) == "reference"
        rng = streams("init", seed=seed)
        self.item = nn.Parameter(nn.init.xavier_normal_(torch.empty(n_items, dim), generator=rng))
        self.encoder = SelfAttention(
            dim,
            length=max_len,
            blocks=blocks,
            heads=heads,
            dropout=dropout,
            pads=max_len if reference else 0,
            rng=rng,
        )
        self.histories = history(order)
        refuse_unfit(self.histories, overlap=overlap, max_len=max_len)
        self.windows = Windows(self.histories, max_len, overlap=overlap, last_only=last_only)

    def groups(self):
        return self.windows.groups

    def step_bytes(self, rows, drawn):
        return super().step_bytes(rows, drawn) + rows * self.encoder.token_bytes(self.max_len)

    def encode(self, batch):
        if batch.history is None and batch.row is None and batch.item is not None:
            raise UsageError(
                "this batch says what comes next but not what came before: give Batch.row (places in the training "
                "table) or Batch.history; a user's whole history would hold the positive itself"
            )
        return self._scorer(batch)

    def penalty(self, batch, negatives):
        if not self.penalised:
            return self.item.new_zeros(len(batch))
        return item_penalty(self.item, batch, negatives)

    def frozen(self):
        return Reader(self)

    def _scorer(self, batch: Batch) -> Dot:
        if batch.history is None and batch.row is not None:
            reading = self._at_rows(batch.row)
        else:
            told = batch.history
            told = self.histories.latest(batch.user, self.max_len) if told is None else told
            reading = packing.after(told, self.max_len)
        query = packing.states(self.encoder, self.item, reading, batch.noise)
        return Dot(query, self.item, cosine=self.cosine, temperature=self.temperature)

    def _at_rows(self, row: Tensor) -> packing.Reading:
        """The state before each train row ``Long[B]``, its window encoded once for all its rows; -1: before nothing."""
        place = self.histories.place[row]
        window = self.windows.of[place].masked_fill(row < 0, -1)
        return packing.at_places(self.histories, self.windows, window, place - 1)


class Reader:
    """The frozen encoder: a user's query is the state after the user's history.

    A batch's own ``history`` goes first, then ``row`` (the state before it; -1: before nothing), then the user's
    items of ``histories``, those of train by default. There is no dropout.
    """

    aside = None

    def __init__(self, model: SASRec, histories: Histories | None = None) -> None:
        self._model, self._histories = model, histories
        self.order, self.item = model.order, model.item.detach()

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Dot:
        if self._histories is not None and batch.history is None:
            batch = replace(batch, history=self._histories.latest(batch.user, self._model.max_len))
        return self._model._scorer(replace(batch, noise=None))

    def reading(self, histories: Histories, aside: Aside | None = None) -> Reader:
        """The same model with other histories of the users; it reads nothing of source domains."""
        return Reader(self._model, histories.to(self.item.device))

    def towers(self) -> Towers:
        """All users encoded: their queries as a table. Cost: a forward pass over all histories."""
        users = torch.arange(self._model.n_users, device=self.item.device)
        query = torch.cat([self(Batch(some)).query for some in users.split(_TOGETHER)])
        return Towers(query, self.item, cosine=self._model.cosine, temperature=self._model.temperature)
