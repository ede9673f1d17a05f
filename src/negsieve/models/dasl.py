"""Two domains that attend to each other, after DASL (Li, Jiang, Que, Hu, Tuzhilin, KDD 2021).

This is a factorised form of the idea, not the published network: see ``DASL``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from negsieve.histories import Aside, Histories
from negsieve.models.base import one_of, similarity_is_cosine
from negsieve.models.cross import CrossModel, noises
from negsieve.models.packing import Reading, read_at, steps
from negsieve.models.pair import Fusion, Pair
from negsieve.models.selfattention import Linear
from negsieve.rng import streams
from negsieve.scorers import gather

_SHORT = 8  # rows that attend to up to so many steps are worth one call


class Attention(nn.Module):
    """Additive attention of each row over a sequence up to its own step: ``sum_t softmax(v tanh(K s_t + Q q)) s_t``.

    Cost: ``2 D^2`` operations a step and a row, and about ``4 D`` for each of the steps that a row attends to; rows of
    like length are taken together, padded to at most twice the steps. Memory with gradients: about ``20 D`` bytes for
    each such step.
    """

    def __init__(self, dim: int, *, rng: torch.Generator) -> None:
        super().__init__()
        self.key = Linear(dim, dim, rng=rng)
        self.ask, self.rate = (
            nn.Parameter(nn.init.xavier_normal_(torch.empty(rows, dim), generator=rng)) for rows in (dim, 1)
        )

    def forward(self, query: Tensor, step: Tensor, reading: Reading) -> Tensor:
        """What rows ``Float[B, D]`` make of the steps ``Float[T + 1, D]``; 0 where nothing came before. ``[B, D]``."""
        many = torch.where(reading.at < 0, 0, reading.at - reading.start + 1)
        ordered, by = many.sort(stable=True)
        key, asked = self.key(step), query @ self.ask.T
        parts, done = [query.new_zeros(int((many == 0).sum()), query.shape[1])], int((many == 0).sum())
        width = _SHORT
        while done < len(by):
            upto = int(torch.searchsorted(ordered, width, right=True))
            if upto > done:
                parts.append(self._over(by[done:upto], int(ordered[upto - 1]), asked, key, step, reading))
            done, width = upto, 2 * width
        back = torch.empty_like(by)
        back[by] = torch.arange(len(by), device=by.device)
        return torch.cat(parts).index_select(0, back)

    def _over(self, row: Tensor, longest: int, asked: Tensor, key: Tensor, step: Tensor, reading: Reading) -> Tensor:
        """Some rows ``Long[b]``, each over its at most ``longest`` steps: ``Float[b, D]``."""
        start, at = reading.start[row, None], reading.at[row, None]
        place = start + torch.arange(longest, device=row.device)  # [b, L]
        beyond, place = place > at, torch.minimum(place, at)
        rate = torch.tanh(gather(key, place) + gather(asked, row)[:, None]) @ self.rate[0]
        share = rate.masked_fill(beyond, -torch.inf).softmax(1)
        return torch.einsum("bl,bld->bd", share, gather(step, place))


class DASL(CrossModel):
    """A SASRec in each of two domains, each state completed by attention that the other one guides; a factorised DASL.

    ``s = h_source + attention(h_target over the source steps)``, ``t = h_target + attention(h_source over the target
    steps)``, ``u = MLP[s; t]``, scored as ``scale`` times its cosine with the target domain's items. ``s`` and ``t``
    are the states that its ``Crossed`` shows; replacing ``t`` leaves ``s`` as this user's target state made it.

    Settings are those of ``SASRecCDR``.

    What the published model has and this one has not: it scores a pair by a network that sees the item (target
    attention), so nothing can be ranked by a product of matrices, and a user's states are not vectors of their own;
    it has user embeddings in each domain and an orthogonal map between them, trained beside; its encoders are GRUs
    (here self-attention, which can start from pre-trained ``sasrec``); its attention spreads one softmax over the steps
    of both domains and keeps the own ones (here each softmax is over one domain). The paper that compares samplers on
    DASL does not say how it was made to retrieve. So figures are of this form, and no reproduction of KDD 2021.

    Cost: that of ``SASRecCDR``, and the two attentions, see ``Attention``. Memory: ``16 D^2`` bytes of weights more.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        *,
        history: Callable[[str], Histories],
        aside: Callable[[str], Aside],
        dim: PositiveInt = 64,
        max_len: PositiveInt = 200,
        blocks: PositiveInt = 2,
        heads: PositiveInt = 1,
        dropout: NonNegativeFloat = 0.2,
        windows: Literal["all", "last"] = "last",
        overlap: NonNegativeInt = 0,
        pad_attention: Literal["masked", "reference"] = "masked",
        order: Literal["time", "given"] = "time",
        penalty: Literal["none", "items"] = "none",
        similarity: Literal["dot", "cosine"] = "cosine",
        scale: PositiveFloat = 5.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.n_users, self.n_items, self.dim, self.order = n_users, n_items, dim, order
        self.cosine, self.temperature = similarity_is_cosine(similarity), 1 / scale
        self.penalised = one_of("penalty", penalty, ("none", "items")) == "items"
        rng = streams("init", seed=seed)
        self.pair = Pair(
            n_items,
            histories=history(order),
            aside=aside(order),
            dim=dim,
            max_len=max_len,
            blocks=blocks,
            heads=heads,
            dropout=dropout,
            windows=windows,
            overlap=overlap,
            pad_attention=pad_attention,
            rng=rng,
        )
        self.fusion = Fusion(dim, rng=rng)
        self.over_source, self.over_target = Attention(dim, rng=rng), Attention(dim, rng=rng)

    def sides(self, batch, histories=None, aside=None):
        pair, (elsewhere, here) = self.pair, noises(batch.noise)
        asked = pair.asked(batch, histories, aside)
        step = steps(pair.source.encoder, pair.source.item, asked.source, elsewhere)
        source = gather(step, read_at(asked.source))
        other = steps(pair.target.encoder, pair.target.item, asked.target, here)
        target = gather(other, read_at(asked.target))
        completed = source + self.over_source(target, step, asked.source)
        return completed, target + self.over_target(source, other, asked.target), asked.met
