"""Filters candidates that are too similar to the positive: what is like something liked may be liked too.

How similar is too similar is measured against the model itself: items are clustered, and the mean cosine of
an item to its cluster's centre says what "the same kind of item" looks like now. The filter starts at a
fraction of that, and is relaxed as training goes on.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from negsieve.errors import UsageError
from negsieve.samplers.base import Stage
from negsieve.samplers.curriculum import stages_done
from negsieve.samplers.kmeans import concentration, k_means
from negsieve.samplers.prior import due
from negsieve.samplers.synthesise import require_vectors
from negsieve.scorers import Comparing, Scorer, VectorScorer
from negsieve.types import Batch

_BLOCK = 1 << 22  # floats of vectors compared at a time where a scorer has no quicker way
_STILL = 1e-4  # the authors' rule for a clustering that has come to rest


class SimilarTo(Stage):
    """Keeps a candidate j of the positive i while ``cos(j, i) <= s_d``; ``s_d = min(s_c, s_c / chi * tau^m)``.

    ``s_c`` is the mean over clusters of the items' mean cosine-like product with their cluster's mean (see
    ``kmeans.concentration``), ``m = ceil((e - mu) / psi)`` in epoch e from 1. Whatever factor a model puts before its
    cosines cancels out of the comparison, so none is taken here.

    n_items   I
    clusters  of items; at most I
    chi, tau  how strict it starts, and by what factor it relaxes every ``psi`` epochs after ``mu``
    every     epochs between two clusterings, each from the centres of the one before
    rounds    of a clustering at most
    cosine    items belong to a cluster by cosine; False: by distance, as the paper's words suggest
    inverted  keeps what is like the positive, ``cos(j, i) >= s_d``: a control of the filter's direction

    Shapes stay: what is filtered becomes ``keep=False``. Before the first refresh nothing is. Cost: one cosine a
    candidate; a clustering ``rounds I clusters D``. Ma et al., RecSys 2023, Eqs. 4 and 8. (Their text keeps what is
    above the bound, read literally; their code, their figure and their reasons keep what is below.)
    """

    needs = frozenset({"vectors"})
    advice = "Without vectors nothing is similar to anything: dns_band chooses by scores alone."
    elastic = ("centre",)

    def __init__(
        self,
        n_items: int,
        *,
        clusters: int = 100,
        chi: float = 5.0,
        tau: float = 1.15,
        mu: int = 5,
        psi: int = 2,
        every: int = 1,
        rounds: int = 25,
        cosine: bool = True,
        inverted: bool = False,
    ) -> None:
        super().__init__()
        if min(clusters, psi, every, rounds) < 1 or mu < 0 or not (chi > 0 and tau > 0):
            raise UsageError(
                f"clusters={clusters}, psi={psi}, every={every}, rounds={rounds}, mu={mu}, chi={chi}, tau={tau}: "
                "wanted 1 or more of the first four, mu from 0, chi and tau above 0"
            )
        self.n_items, self.clusters, self.cosine = n_items, min(clusters, n_items), cosine
        self.sign = -1 if inverted else 1  # what is kept: sign * cosine <= sign * bound
        self.chi, self.tau, self.mu, self.psi, self.every, self.rounds = chi, tau, mu, psi, every, rounds
        self.register_buffer("centre", torch.empty(0, 0))  # [C, D]
        self.register_buffer("built", torch.tensor(-1))
        self.register_buffer("tightness", torch.tensor(torch.inf, dtype=torch.float64))  # s_c
        self.register_buffer("bound", torch.tensor(self.sign * torch.inf, dtype=torch.float64))  # s_d

    @torch.no_grad()
    def refresh(self, epoch, view, rng):
        if due(self.built, epoch, self.every):
            self._cluster(view(Batch(torch.zeros(1, dtype=torch.long, device=self.centre.device))), rng)
            self.built.fill_(epoch)
        relaxed = self.tightness / self.chi * self.tau ** stages_done(epoch, mu=self.mu, psi=self.psi)
        self.bound.copy_(torch.minimum(self.tightness, relaxed))

    def _cluster(self, scorer: Scorer, rng: torch.Generator) -> None:
        shown = require_vectors(scorer, "SimilarTo", "or dns_band, which chooses by scores alone")
        item = torch.arange(self.n_items, device=self.centre.device)
        vector = normalize(shown.vectors(item).detach().float(), dim=-1)
        how = {"rounds": self.rounds, "cosine": self.cosine, "tolerance": _STILL}
        start = self.centre if self.centre.shape == (self.clusters, vector.shape[1]) else None
        near, self.centre = k_means(vector, self.clusters, rng, start=start, **how)
        self.tightness.copy_(concentration(vector, near, self.clusters))

    @torch.no_grad()
    def refine(self, negatives, batch, scorer, rng):
        shown = require_vectors(scorer, "SimilarTo", "or dns_band, which chooses by scores alone")
        keep = self.sign * cosines(shown, batch.item, negatives.item) <= self.sign * self.bound
        return replace(negatives, keep=keep if negatives.keep is None else keep & negatives.keep)


def cosines(scorer: VectorScorer, positive: Tensor, item: Tensor) -> Tensor:
    """How alike candidates are to the positives: ``Long[B]``, ``Long[B|1, M]`` -> ``Float[B, M]``."""
    own = scorer.vectors(positive)
    if isinstance(scorer, Comparing):
        return scorer.by_cosine(own).score(item)
    own, item = normalize(own, dim=-1), item.expand(len(own), -1)
    step = max(1, _BLOCK // max(1, item.shape[1] * own.shape[1]))
    blocks = zip(own.split(step), item.split(step), strict=True)
    parts = [torch.einsum("bd,bmd->bm", side, normalize(scorer.vectors(some), dim=-1)) for side, some in blocks]
    return torch.cat(parts)
