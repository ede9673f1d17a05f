"""Mixes the positive and a hard negative a dimension at a time: DINS."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from negsieve.samplers.base import Stage
from negsieve.samplers.hops import check_groups, choose_hops, hop_scores, items_at, refuse_uneven
from negsieve.samplers.synthesise import beside_positive, require_vectors
from negsieve.schedule import LEAST, checked
from negsieve.types import Negatives


class MixDimensions(Stage):
    """DINS: every dimension has its own share of the positive p and of the boundary item b, a hop at a time.

    b is the candidate that the row's query u scores highest by the vectors of the hop. A dimension d of the
    negative is ``(1 - w_d) p_d + w_d b_d`` with ``w_d = e^{u_d b_d} / (e^{u_d b_d} + alpha e^{u_d p_d})``: it leans
    towards whichever of the two adds more to the score. Hops are pooled by the mean. Computed as
    ``w_d = sigma(u_d b_d - u_d p_d - log alpha)``, which cannot overflow; gradients flow through w too.

    alpha        above 0, a number or a schedule; towards 0 the boundary items, towards infinity the positive
    n_negatives  K; the M candidates are cut into K groups

    ``item``, ``parts``, ``ego`` and ``keep`` are as in ``HopMix``. One layer will do. The products are of the
    vectors themselves, before any temperature. Cost: M * (H + 1) score evaluations a row without gradient.
    Wu et al., CIKM 2023.
    """

    needs = frozenset({"vectors", "dot"})
    synthetic = True
    advice = "A cosine is no sum over dimensions: take mixgcf, which mixes whole vectors, or dns."

    def __init__(self, alpha: float | str = 2.0, *, n_negatives: int = 1) -> None:
        super().__init__()
        self.alpha, self.n_negatives = checked("alpha", alpha, least=LEAST), check_groups(n_negatives)

    def refine(self, negatives, batch, scorer, rng):
        shown = require_vectors(scorer, "MixDimensions", "or DNS, which needs scores alone")
        refuse_uneven(negatives, self.n_negatives)
        place, keep = choose_hops(negatives, hop_scores(negatives, shown), self.n_negatives)
        parts = items_at(negatives, place)  # [B, K, H + 1]
        layers = [shown.layer(hop) for hop in range(shown.hops)]
        pairs = [beside_positive(layer, batch, parts[..., hop]) for hop, layer in enumerate(layers)]
        hops = [self._mix(shown.query[:, None], own, boundary) for own, boundary in pairs]
        return Negatives(parts[..., 0].contiguous(), keep=keep, vector=sum(hops) / len(hops), ego=hops[0], parts=parts)

    def _mix(self, query: Tensor, positive: Tensor, boundary: Tensor) -> Tensor:
        """``query, positive [B, 1, D]``, ``boundary [B, K, D]`` -> ``[B, K, D]``."""
        alpha = self.alpha.value
        shift = alpha.log() if isinstance(alpha, Tensor) else math.log(alpha)
        return torch.lerp(positive, boundary, torch.sigmoid(query * (boundary - positive) - shift))
