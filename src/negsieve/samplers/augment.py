"""Moves the easy part of a hard candidate, in a direction and by a length that gates decide: ANS."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm as norm
from torch.nn.functional import normalize

from negsieve.errors import UsageError
from negsieve.rng import streams
from negsieve.samplers.base import Stage
from negsieve.samplers.gates import linear, log_one_plus
from negsieve.samplers.hops import check_groups, choose_hops, items_at, own_layer, refuse_uneven
from negsieve.samplers.synthesise import beside_positive, require_vectors
from negsieve.schedule import checked
from negsieve.scorers import VectorScorer
from negsieve.types import Batch, Negatives

_FLAT = 1e-6  # below the square root of this, the inverse of a margin is bent back to 0


class Factors(nn.Module):
    """The gates of ANS: what of an item is hard for a user, and how far the rest may move.

    dim   D
    seed  of the start: uniform within ``1 / sqrt(D)``
    """

    def __init__(self, dim: int, *, seed: int = 0) -> None:
        super().__init__()
        rng = streams("gates", seed=seed)
        self.item, self.user = linear(dim, dim, rng), linear(dim, dim, rng)
        self.margin = linear(dim, 1, rng)

    def gate(self, query: Tensor, negative: Tensor) -> Tensor:
        """``sigma((W_i n) * (W_u u))``: ``query Float[B, 1, D]``, ``negative Float[B|1, K, D]`` -> ``[B, K, D]``."""
        return torch.sigmoid(self.item(negative) * self.user(query))

    def disturbance(self, query: Tensor, positive: Tensor, negative: Tensor, noise: Tensor) -> Tensor:
        """A random step of length up to 1 from the negative's easy part towards the positive's: ``Float[B, K, D]``.

        ``noise Float[B, K, D]`` in [0, 1). With one gate g for both, ``p_e - n_e = (p - n) * (1 - g)`` has the
        sign of ``p - n``, and ``n_h * p_h = n * p * g^2``.
        """
        margin = self.margin(negative * positive * self.gate(query, negative).square())
        length = torch.sigmoid(margin / (margin.square() + _FLAT))  # of 1 / margin, without its pole
        return (positive - negative).detach().sign() * normalize(noise, dim=-1) * length


class Augment(Stage):
    """ANS: candidates whose easy factors are disturbed, and of these the hardest of every hop.

    A gate splits a candidate's layer-h vector into hard and easy factors, ``n_h = n * g`` and
    ``n_e = n - n_h``, and the positive's likewise. ``n' = n + magnitude * sigma(1 / m) * sign(p_e - n_e) * r``
    where r is a random direction of the positive orthant and m a learned margin of ``n_h * p_h``. The choice
    of hop h is ``argmax_k <u^h, n'_k> + eps <u^h, n'_k - n_k>``; the chosen n' are pooled by the mean.

    dim          D
    n_negatives  K; the M candidates are cut into K groups
    eps          how much a gain in score counts beside the score; 0 or more
    magnitude    the longest disturbance; the authors' .1
    gamma        weight of the auxiliary loss, from 0: ``f(easy - hard) + |n_h - p_h| + |p_e * n_e|``, with f the
                 softplus of the factors' scores, averaged over hops
    seed         of the gates

    Only what was chosen is drawn into the gradient and into the auxiliary loss. ``item``, ``parts`` and ``keep``
    are as in ``HopMix``; L2 reads the chosen item of hop 0. Cost: M * (H + 1) gates of 2 D^2 a row without
    gradient, then 2 K * (H + 1) with. Zhao et al., RecSys 2023.
    """

    needs = frozenset({"vectors", "dot"})
    synthetic = True
    advice = "Scores that only compare, such as a cosine, do not split into two parts: take dns or mixgcf."

    def __init__(
        self,
        dim: int,
        *,
        n_negatives: int = 1,
        eps: float | str = 0.1,
        magnitude: float | str = 0.1,
        gamma: float | str = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.n_negatives = check_groups(n_negatives)
        self.eps, self.gamma = checked("eps", eps, least=0), checked("gamma", gamma, least=0)
        self.magnitude = checked("magnitude", magnitude, least=0)
        self.gates = Factors(dim, seed=seed)

    def refine(self, negatives, batch, scorer, rng):
        shown = require_vectors(scorer, "Augment", "or DNS, which needs scores alone")
        refuse_uneven(negatives, self.n_negatives)
        layers = [own_layer(shown, hop) for hop in range(shown.hops)]
        shape = (len(batch), negatives.item.shape[1], shown.query.shape[1])
        noise = [torch.rand(shape, generator=rng, device=shown.query.device).to(shown.query.dtype) for _ in layers]
        with torch.no_grad():
            scores = [self._score(one, batch, negatives, lot) for one, lot in zip(layers, noise, strict=True)]
        place, keep = choose_hops(negatives, scores, self.n_negatives)
        parts = items_at(negatives, place)  # [B, K, H + 1]
        hops = []
        for hop, (layer, lot) in enumerate(zip(layers, noise, strict=True)):
            own = lot.gather(1, place[..., hop, None].expand(-1, -1, shape[2]))  # [B, K, D]
            chosen = layer.vectors(parts[..., hop])
            hops.append(chosen + self._step(layer, batch, chosen, own))
        return Negatives(parts[..., 0].contiguous(), keep=keep, vector=sum(hops) / len(hops), parts=parts)

    def _step(self, layer: VectorScorer, batch: Batch, negative: Tensor, noise: Tensor) -> Tensor:
        """``n' - n``: ``Float[B, K, D]``."""
        sides = layer.query[:, None], layer.vectors(batch.item)[:, None]
        return self.magnitude.value * self.gates.disturbance(*sides, negative, noise)

    def _score(self, layer: VectorScorer, batch: Batch, negatives: Negatives, noise: Tensor) -> Tensor:
        """``<u, n'> + eps <u, n' - n>`` of the candidates: ``Float[B, M]``."""
        candidate = layer.vectors(negatives.item)
        step = self._step(layer, batch, candidate, noise)
        return layer.score_vectors(candidate + (1 + self.eps.value) * step)

    def auxiliary(self, batch, negatives, scorer):
        if self.gamma.kind == "constant" and not self.gamma.value:
            return None
        if negatives.parts is None:
            raise UsageError(
                "ANS splits the items that its negatives were made of, and another sampler beside it has none: "
                "use it alone, or with gamma=0"
            )
        shown = require_vectors(scorer, "Augment", "or DNS, which needs scores alone")
        terms = [self._split(batch, negatives, own_layer(shown, hop), hop) for hop in range(shown.hops)]
        return self.gamma.value * sum(terms) / len(terms)

    def _split(self, batch: Batch, negatives: Negatives, layer: VectorScorer, hop: int) -> Tensor:
        """The three terms at one hop: ``Float[B]``."""
        positive, negative = beside_positive(layer, batch, negatives.parts[..., hop])
        gate = self.gates.gate(layer.query[:, None], negative)
        hard, mate = negative * gate, positive * gate
        gap = layer.score_vectors(negative - 2 * hard)  # easy less hard  # [B, K]
        far = norm(hard - mate, dim=-1) + norm((positive - mate) * (negative - hard), dim=-1)
        if negatives.keep is None:
            return log_one_plus(gap, None) + far.mean(1)
        keep = negatives.keep.to(far.dtype)
        return log_one_plus(gap, negatives.keep) + (far * keep).sum(1) / keep.sum(1).clamp_min(1)
