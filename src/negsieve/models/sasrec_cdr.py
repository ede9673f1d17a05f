"""SASRec in two domains, fused by a small network: the model of RealHNS (Ma et al., RecSys 2023)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from negsieve.histories import Aside, Histories
from negsieve.models.base import one_of, similarity_is_cosine
from negsieve.models.cross import CrossModel, noises
from negsieve.models.packing import states
from negsieve.models.pair import Fusion, Pair
from negsieve.rng import streams


class SASRecCDR(CrossModel):
    """A SASRec for the target domain and one for the source domains beside it, fused by a small network.

    ``u = MLP[h_source; h_target]``, scored as ``scale`` times its cosine with the target domain's items.

    aside          ``order -> Aside`` of the train part: what users did in the source domains
    max_len        the items that a history holds at most, in either domain
    windows        "last": the rows of each user's last window alone are targets, as the authors train; "all"
    overlap        rows of a window, in either domain, that are history only, where a sequence is longer than that
    scale          multiplies the score
    history, dim, blocks, heads, dropout, pad_attention, order, penalty, similarity  as in ``SASRec``; of both encoders

    ``h_target`` is SASRec's state before the row, ``h_source`` that of another SASRec after the last source row that
    precedes it; neither is normalised before the MLP (two layers, LeakyReLU .01 between). Without any source row
    before it a row has the bias of the source encoder's last norm, as an empty place of the authors' grid has. Their
    grid gives the same to rows whose last source row is older than ``max_len`` of a user's source rows, and one of
    them by mistake a later row; here every source row has a state, see ``Pair``. They give both domains a table of
    all items, half of it unused.

    Cost of a forward pass: SASRec's, for the target windows and, beside them, for all source rows of their users.
    Memory: ``4 D (I + I_source + 2 T + 12 D blocks + 3 D)`` bytes of weights.
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

    def sides(self, batch, histories=None, aside=None):
        pair, (elsewhere, here) = self.pair, noises(batch.noise)
        asked = pair.asked(batch, histories, aside)
        target = states(pair.target.encoder, pair.target.item, asked.target, here)
        return states(pair.source.encoder, pair.source.item, asked.source, elsewhere), target, asked.met
