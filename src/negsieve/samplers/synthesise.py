"""Makes negatives that are no item: vectors mixed from the positive and hard candidates.

All need a scorer that shows its vectors. Gradients flow through the mix into every item
that is part of it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from negsieve.errors import CapabilityError, UsageError, nearest
from negsieve.samplers.base import Stage
from negsieve.samplers.hops import check_groups, choose_hops, hop_scores, items_at, refuse_uneven
from negsieve.schedule import checked
from negsieve.scorers import Scorer, VectorScorer
from negsieve.types import Batch, Negatives

MIXES = ("row", "none")


class MixPositive(Stage):
    """Positive-dominated mixing, ``e' = alpha e_i + (1 - alpha) e_j`` (PDNS).

    alpha   the positive's share, in [0, 1]; a number or a schedule
    detach  stop the gradient through the positive inside the mix: the control experiment

    With a dot product and ``detach=False`` this is exactly ``soft_bpr`` with ``beta = 1 - alpha``:
    loss and every gradient agree. With a cosine, or detached, it is not. L2 reads the chosen
    item's own layer 0 (``ego`` stays absent), so that the two forms are one method.

    Cost: no score evaluation; two vectors gathered a negative.
    """

    needs = frozenset({"vectors"})
    synthetic = True
    advice = "The same method as a loss needs scores alone: pdns with form=soft."

    def __init__(self, alpha: float | str, *, detach: bool = False) -> None:
        super().__init__()
        self.alpha, self.detach = checked("alpha", alpha, least=0, most=1), detach

    def refine(self, negatives, batch, scorer, rng):
        shown = require_vectors(scorer, "MixPositive", "or the same method as a loss: pdns with form=soft")
        positive, other = _both(negatives, batch, shown)
        if self.detach:
            positive = positive.detach()
        alpha = self.alpha.value
        return replace(negatives, vector=alpha * positive + (1 - alpha) * other)


class MixAtRandom(Stage):
    """Positive mixing whose share is drawn anew: ``e' = (1 - b) e_i + b e_j`` with ``b ~ U(0, beta)``.

    beta  the most that the negative may have, in [0, 1]; a number or a schedule

    One b a row and negative. At ``beta = 1`` this is what MixGCF does on a model of one layer; with a dot
    product it is ``softplus(-b (s_i - s_j))``. L2 reads the chosen item's own layer 0, as in
    ``MixPositive``. Cost: no score evaluation; two vectors gathered a negative.
    """

    needs = frozenset({"vectors"})
    synthetic = True

    def __init__(self, beta: float | str = 1.0) -> None:
        super().__init__()
        self.beta = checked("beta", beta, least=0, most=1)

    def refine(self, negatives, batch, scorer, rng):
        shown = require_vectors(scorer, "MixAtRandom", "or DNS, which needs scores alone")
        positive, other = _both(negatives, batch, shown)
        lot = torch.rand((len(batch), other.shape[1]), generator=rng, device=other.device).to(other.dtype)
        beta = (self.beta.value * (1 - lot))[..., None]  # [B, K, 1]
        return replace(negatives, vector=(1 - beta) * positive + beta * other)


class Noise(Stage):
    """Noise that lengthens a negative's vector in its own orthant: ``e' = e + eps n * sign(e)`` (AugNS).

    ``n = normalise(U(0, 1)^D)``, drawn anew for every row and negative, so ``|e' - e| = eps`` where no
    coordinate is 0, and every coordinate keeps its sign and grows. From the contrastive noise of SimGCL,
    which adds it layer by layer; here the final vector gets it. L2 reads the item's own layer 0.

    eps  0 or more; a number or a schedule

    Cost: no score evaluation; one vector gathered a negative.
    """

    needs = frozenset({"vectors"})
    synthetic = True
    advice = "Without the noise it is uniform, which needs scores alone."

    def __init__(self, eps: float | str = 0.1) -> None:
        super().__init__()
        self.eps = checked("eps", eps, least=0)

    def refine(self, negatives, batch, scorer, rng):
        shown = require_vectors(scorer, "Noise", "or uniform, which needs scores alone")
        vector = negatives.vector if negatives.vector is not None else shown.vectors(negatives.item)  # [B|1, K, D]
        noise = torch.rand(vector.shape, generator=rng, device=vector.device).to(vector.dtype)
        direction = torch.nn.functional.normalize(noise, dim=-1) * vector.detach().sign()
        return replace(negatives, vector=vector + self.eps.value * direction)


class HopMix(Stage):
    """MixGCF: the hardest candidate of every hop, mixed with the positive, pooled to one negative.

    For each hop h, ``k_h`` is the candidate whose layer-h vector the row's query scores highest, and
    ``e' = mean_h (a_h e_i^h + (1 - a_h) e_{k_h}^h)`` with ``a_h ~ U(0, 1)``, one a row, negative and
    hop. The authors mix every candidate first; with one ``a_h`` for all of them the highest before and
    after mixing is the same, so here only the chosen are mixed. (With a cosine that holds no longer:
    the choice here is the one before mixing.)

    n_negatives  K; the M candidates are cut into K groups of M / K, as the authors' code does
    mix          "row" as above; "none" leaves the positive out: hop-wise DNS
    one_layer    a model of one layer serves too: a part of other methods asks for that

    ``item`` is the choice of hop 0, ``parts [B, K, H + 1]`` the choices of all hops, ``ego`` hop 0 of
    the mixture, which L2 reads as the authors' code does. A group without a kept candidate is
    ``keep=False``. On a model of one layer this is DNS with a random soft factor.

    Cost: M * (H + 1) score evaluations a row without gradient.
    Huang et al., KDD 2021.
    """

    needs = frozenset({"vectors", "layers"})
    synthetic = True
    advice = (
        "On one layer it is dns with a random soft factor, which pdns:form=random,beta=1 is too; or take pdns, whose "
        "factor is chosen instead of drawn."
    )

    def __init__(self, n_negatives: int = 1, *, mix: str = "row", one_layer: bool = False) -> None:
        super().__init__()
        if one_layer:
            self.needs = frozenset({"vectors"})
        if mix not in MIXES:
            raise UsageError(f"mix={mix!r}, wanted one of {', '.join(MIXES)}.{nearest(mix, MIXES)}")
        self.n_negatives, self.mix = check_groups(n_negatives), mix

    def refine(self, negatives, batch, scorer, rng):
        shown = require_vectors(scorer, "HopMix", "or DNS, which needs scores alone")
        refuse_uneven(negatives, self.n_negatives)
        place, keep = choose_hops(negatives, hop_scores(negatives, shown), self.n_negatives)
        parts = items_at(negatives, place)  # [B, K, H + 1]
        layers = [shown.layer(hop) for hop in range(shown.hops)]
        if self.mix == "row":
            pairs = [beside_positive(layer, batch, parts[..., hop]) for hop, layer in enumerate(layers)]
            share = torch.rand(parts.shape, generator=rng, device=parts.device).to(pairs[0][1].dtype)
            hops = [torch.lerp(hop, own, share[..., h, None]) for h, (own, hop) in enumerate(pairs)]  # each [B, K, D]
        else:
            hops = [layer.vectors(parts[..., hop]) for hop, layer in enumerate(layers)]
        return Negatives(parts[..., 0].contiguous(), keep=keep, vector=sum(hops) / len(hops), ego=hops[0], parts=parts)


def _both(negatives: Negatives, batch: Batch, scorer: VectorScorer) -> tuple[Tensor, Tensor]:
    """The positives' vectors ``[B, 1, D]``, and the negatives' as they are now ``[B|1, K, D]``."""
    if negatives.vector is None and len(negatives.item) == len(batch):
        return beside_positive(scorer, batch, negatives.item)
    other = negatives.vector if negatives.vector is not None else scorer.vectors(negatives.item)
    return scorer.vectors(batch.item)[:, None], other


def beside_positive(scorer: VectorScorer, batch: Batch, item: Tensor) -> tuple[Tensor, Tensor]:
    """The vectors of the positives ``[B, 1, D]`` and of ``item Long[B, K]``, ``[B, K, D]``.

    Read together, so that one gradient of the item table is made instead of two.
    """
    return scorer.vectors(torch.cat([batch.item[:, None], item], dim=1)).tensor_split([1], dim=1)


def require_vectors(scorer: Scorer, stage: str, instead: str) -> VectorScorer:
    """``scorer`` if it shows vectors; else ``CapabilityError`` that says what would serve."""
    if isinstance(scorer, VectorScorer):
        return scorer
    raise CapabilityError(
        f"{stage} mixes item vectors, and {type(scorer).__name__} only scores. Use a model whose scorer shows "
        f"query, vectors, score_vectors, hops and layer (negsieve.Dot does; so do mf and lightgcn), {instead}"
    )
