"""Learned gates that split an item's vector into what this user cares about and the rest.

Two methods have them: DENS chooses by the split and returns whole items, ANS moves the part that does
not matter. Gates are parameters, trained with the model by its optimiser; only the auxiliary
loss of the method reaches them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from negsieve.errors import UsageError
from negsieve.rng import streams
from negsieve.samplers.base import Stage
from negsieve.samplers.hops import check_groups, choose_hops, items_at, own_layer, refuse_uneven
from negsieve.samplers.synthesise import beside_positive, require_vectors
from negsieve.schedule import checked
from negsieve.scorers import VectorScorer
from negsieve.types import Batch, Negatives


class Disentangle(nn.Module):
    """The four gates of DENS, each ``W x + b`` of width D.

    dim   D, the width of the model's vectors
    seed  of the start: uniform within ``1 / sqrt(D)``, as torch starts a linear layer
    """

    def __init__(self, dim: int, *, seed: int = 0) -> None:
        super().__init__()
        rng = streams("gates", seed=seed)
        self.item, self.user, self.negative, self.positive = (linear(dim, dim, rng) for _ in range(4))

    def of_positive(self, positive: Tensor, query: Tensor) -> Tensor:
        """``p * sigma(W_i p + W_u u)``: what of the positive is relevant. All ``Float[B, 1, D]``."""
        return positive * torch.sigmoid(self.item(positive) + self.user(query))

    def of_negative(self, negative: Tensor, relevant: Tensor) -> Tensor:
        """``n * sigma(W_n n + W_p p_r)``, ``p_r Float[B, 1, D]`` from ``of_positive``: ``Float[B, K, D]``."""
        return negative * torch.sigmoid(self.negative(negative) + self.positive(relevant))


class GatedHops(Stage):
    """DENS: the hardest candidate of every hop, by what gates say is irrelevant or relevant to the row.

    With ``n_r = n * g`` the relevant part of a candidate's layer-h vector, the choice of hop h is
    ``argmax_k <u^h, (1 - w) n_k^h - n_r,k^h>``: at ``w = 0`` the candidate whose irrelevant part scores
    highest, at ``w = 1`` the one whose relevant part scores lowest. The chosen layers stay as they are and
    are pooled by the mean. ``u^h`` is the row's own layer h where the scorer shows it.

    dim          D
    n_negatives  K; the M candidates are cut into K groups
    weight       w, a share that usually rises from 0 to 1 while the model warms up
    gamma        weight of the contrast, from 0; gates learn from nothing else
    seed         of the gates

    The contrast, through ``auxiliary``: with ``p_r, p_ir, n_r, n_ir`` the scores of the gated parts, gated
    a hop and then pooled, ``gamma / 4 * [f(p_ir - p_r) + f(n_r - n_ir) + f(n_r - p_r) + f(p_ir - n_ir)]``,
    ``f`` the softplus, or ``log(1 + sum_k exp(.))`` over K negatives. A row without a kept negative has none.

    ``item``, ``parts``, ``ego`` and ``keep`` are as in ``HopMix``. Cost: M * (H + 1) gates of D^2 and as many
    dot products a row without gradient, then (K + 1) * (H + 1) gates and 2 K + 2 scores with.
    Lai, Chen, Zhao, Chen, Han, WSDM 2023.
    """

    needs = frozenset({"vectors", "dot"})
    synthetic = True
    advice = "Scores that only compare, such as a cosine, do not split into two parts: take dns or mixgcf."

    def __init__(
        self,
        dim: int,
        *,
        n_negatives: int = 1,
        weight: float | str = "ramp:1:100",
        gamma: float | str = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.n_negatives = check_groups(n_negatives)
        self.weight, self.gamma = checked("weight", weight, least=0, most=1), checked("gamma", gamma, least=0)
        self.gates = Disentangle(dim, seed=seed)

    def refine(self, negatives, batch, scorer, rng):
        shown = require_vectors(scorer, "GatedHops", "or DNS, which needs scores alone")
        refuse_uneven(negatives, self.n_negatives)
        with torch.no_grad():
            scores = [self._score(negatives, batch, shown, hop) for hop in range(shown.hops)]
        place, keep = choose_hops(negatives, scores, self.n_negatives)
        parts = items_at(negatives, place)  # [B, K, H + 1]
        hops = [shown.layer(hop).vectors(parts[..., hop]) for hop in range(shown.hops)]  # each [B, K, D]
        return Negatives(parts[..., 0].contiguous(), keep=keep, vector=sum(hops) / len(hops), ego=hops[0], parts=parts)

    def _score(self, negatives: Negatives, batch: Batch, scorer: VectorScorer, hop: int) -> Tensor:
        """The candidates by one hop: ``Float[B, M]``."""
        layer = own_layer(scorer, hop)
        relevant = self.gates.of_positive(layer.vectors(batch.item)[:, None], layer.query[:, None])  # [B, 1, D]
        candidate = layer.vectors(negatives.item)  # [B|1, M, D]
        return layer.score_vectors((1 - self.weight.value) * candidate - self.gates.of_negative(candidate, relevant))

    def auxiliary(self, batch, negatives, scorer):
        if self.gamma.kind == "constant" and not self.gamma.value:
            return None
        if negatives.parts is None:
            raise UsageError(
                "DENS contrasts the items that its negatives were made of, and another sampler beside it has none: "
                "use it alone, or with gamma=0"
            )
        shown = require_vectors(scorer, "GatedHops", "or DNS, which needs scores alone")
        many = negatives.item.shape[1]
        score = shown.score_vectors(torch.cat(self._split(batch, negatives.parts, shown), dim=1))  # [B, 2 + 2K]
        p_r, p_ir, n_r, n_ir = score.split([1, 1, many, many], dim=1)
        keep = negatives.keep
        terms = softplus(p_ir - p_r)[:, 0] + sum(
            log_one_plus(gap, keep) for gap in (n_r - n_ir, n_r - p_r, p_ir - n_ir)
        )  # [B]
        if keep is not None:
            terms = terms * keep.any(1)
        return self.gamma.value / 4 * terms

    def _split(self, batch: Batch, parts: Tensor, scorer: VectorScorer) -> tuple[Tensor, ...]:
        """Pooled parts: relevant and not of the positive ``[B, 1, D]``, then of the negatives ``[B, K, D]``."""
        sums = [0.0, 0.0, 0.0, 0.0]
        for hop in range(scorer.hops):
            layer = own_layer(scorer, hop)
            positive, negative = beside_positive(layer, batch, parts[..., hop])
            p_r = self.gates.of_positive(positive, layer.query[:, None])
            n_r = self.gates.of_negative(negative, p_r)
            for place, part in enumerate((p_r, positive - p_r, n_r, negative - n_r)):
                sums[place] = sums[place] + part
        return tuple(one / scorer.hops for one in sums)


def linear(width: int, out: int, rng: torch.Generator) -> nn.Linear:
    """A linear layer from ``width`` to ``out`` whose start, bias too, comes from ``rng`` alone."""
    layer = nn.utils.skip_init(nn.Linear, width, out)
    for value in (layer.weight, layer.bias):
        nn.init.uniform_(value, -1 / math.sqrt(width), 1 / math.sqrt(width), generator=rng)
    return layer


def log_one_plus(gap: Tensor, keep: Tensor | None) -> Tensor:
    """``log(1 + sum_k exp(gap_k))`` over the kept: ``Float[B, K]`` -> ``Float[B]``."""
    if keep is not None:
        gap = gap.masked_fill(~keep, -torch.inf)
    return torch.logsumexp(torch.cat([torch.zeros_like(gap[:, :1]), gap], dim=1), dim=1)
