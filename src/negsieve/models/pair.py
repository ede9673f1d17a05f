"""Two domains side by side: what a user did in the target domain, and what in the source domains before it.

Each domain has an item table and an encoder of its own. A row of the training table reads two states: that of
the target domain before the row, and that of the source domains after the last source row before it. Both
kinds of sequence run through their encoders once for all rows of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from negsieve.errors import UsageError
from negsieve.histories import Aside, Histories, Stretches, Windows
from negsieve.models import packing
from negsieve.models.base import one_of
from negsieve.models.selfattention import Linear, SelfAttention
from negsieve.types import Batch

_SLOPE = 0.01  # of LeakyReLU below 0


class Tower(nn.Module):
    """A domain's item table ``Float[I, D]`` and the encoder of its sequences, named as ``SASRec`` names its own."""

    def __init__(
        self,
        n_items: int,
        *,
        dim: int,
        max_len: int,
        blocks: int,
        heads: int,
        dropout: float,
        pads: int,
        rng: torch.Generator,
    ) -> None:
        super().__init__()
        self.item = nn.Parameter(nn.init.xavier_normal_(torch.empty(n_items, dim), generator=rng))
        self.encoder = SelfAttention(
            dim, length=max_len, blocks=blocks, heads=heads, dropout=dropout, pads=pads, rng=rng
        )


@dataclass(frozen=True)
class Asked:
    """What B rows read in each domain: windows to encode, and where in them the rows' states are."""

    target: packing.Reading
    source: packing.Reading

    @property
    def met(self) -> Tensor:
        """Whether any source row came before: ``Bool[B]``."""
        return self.source.at >= 0


class Pair(nn.Module):
    """The sequences of a target domain and of the source domains beside it, and a ``Tower`` for each.

    A target sequence is cut as ``Windows`` cut it. Source sequences longer than ``max_len`` are cut from their ends
    by ``Stretches``, ``overlap`` rows shared: a source row beyond a user's first stretch sees its own stretch up to
    itself. A position is counted from the end of its stretch, so it tells how many rows follow, never which.

    Raises UsageError for histories that are not train's and settings that make no sense.
    """

    def __init__(
        self,
        n_items: int,
        *,
        histories: Histories,
        aside: Aside,
        dim: int,
        max_len: int,
        blocks: int,
        heads: int,
        dropout: float,
        windows: str,
        overlap: int,
        pad_attention: str,
        rng: torch.Generator,
    ) -> None:
        super().__init__()
        refuse_unfit(histories, overlap=overlap, max_len=max_len)
        last_only = one_of("windows", windows, ("all", "last")) == "last"
        reference = one_of("pad_attention", pad_attention, ("masked", "reference")) == "reference"
        self.max_len, self.histories, self.aside = max_len, histories, aside
        shape = {"dim": dim, "max_len": max_len, "blocks": blocks, "heads": heads, "dropout": dropout}
        shape["pads"] = max_len if reference else 0
        self.target = Tower(n_items, **shape, rng=rng)
        self.source = Tower(aside.n_items, **shape, rng=rng)
        self.windows = Windows(histories, max_len, overlap=overlap, last_only=last_only)
        self.stretches = Stretches(aside.source, max_len, overlap=overlap)

    def asked(self, batch: Batch, histories: Histories | None = None, aside: Aside | None = None) -> Asked:
        """What a batch reads.

        A batch's own ``history`` goes first; then the users' rows of ``histories``, where any are given; then
        ``row``, the states before each train row, -1 for before nothing; then users' whole train rows. Source rows
        are those before ``row``, or else up to the last one of ``aside``, train's by default.

        Raises UsageError for positives without a row or history: the user's whole history would hold them.
        """
        if batch.history is None and histories is None and batch.row is not None:
            return self._before(batch.row)
        if batch.history is None and histories is None and batch.item is not None:
            raise UsageError(
                "this batch says what comes next but not what came before: give Batch.row (places in the training "
                "table) or Batch.history; a user's whole history would hold the positive itself"
            )
        told, aside = batch.history, self.aside if aside is None else aside
        if told is None:
            told = (self.histories if histories is None else histories).latest(batch.user, self.max_len)
        elsewhere = aside.source.latest(batch.user, self.max_len, last=aside.latest(batch.user))
        return Asked(packing.after(told, self.max_len), packing.after(elsewhere, self.max_len))

    def _before(self, row: Tensor) -> Asked:
        """The states before train rows ``Long[B]``, each window and stretch encoded once for all of its rows."""
        place = self.histories.place[row]
        window = self.windows.of[place].masked_fill(row < 0, -1)
        target = packing.at_places(self.histories, self.windows, window, place - 1)
        last = self.aside.before[row].masked_fill(row < 0, -1)
        stretch = last if not len(self.stretches) else self.stretches.of[last].masked_fill(last < 0, -1)
        return Asked(target, packing.at_places(self.aside.source, self.stretches, stretch, last))


def refuse_unfit(histories: Histories, *, overlap: int, max_len: int) -> None:
    """Raises UsageError for histories that are not train's, or windows without targets of their own."""
    if not overlap < max_len:
        raise UsageError(f"overlap={overlap}, wanted less than max_len={max_len}: a window needs targets of its own")
    if histories.part != "train":
        raise UsageError(f"found histories of {histories.part}, wanted those of train: nothing else is learnt")


class Fusion(nn.Module):
    """``Linear 2D -> D, LeakyReLU, Linear D -> D`` of two states side by side, source first."""

    def __init__(self, dim: int, *, rng: torch.Generator) -> None:
        super().__init__()
        self.join, self.out = Linear(2 * dim, dim, rng=rng), Linear(dim, dim, rng=rng)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """``Float[B, D]`` and ``Float[B, D]`` -> ``Float[B, D]``."""
        hidden = nn.functional.leaky_relu(self.join(torch.cat([source, target], -1)), _SLOPE)
        return self.out(hidden).to(target.dtype)  # under autocast too, scores are of full precision
