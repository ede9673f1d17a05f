"""Importance resampling and approximate proposals: draws whose law is corrected by weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import PositiveInt

from negsieve.errors import UsageError, nearest
from negsieve.samplers.base import Chain, Sampler
from negsieve.samplers.clusters import CellSoftmax
from negsieve.samplers.draw import Weighted, powered
from negsieve.samplers.importance import ImportanceWeight
from negsieve.samplers.methods.static import shaped
from negsieve.seen import Seen
from negsieve.spec import Positive

PROPOSALS = ("uniform", "popularity", "cluster")


def pris(
    n_items: int,
    *,
    seen: Seen,
    dim: int,
    proposal: Literal["uniform", "popularity", "cluster"] = "uniform",
    n_negatives: PositiveInt = 5,
    tau: Positive = 1.0,
    alpha: float = 0.75,
    shape: Literal["power", "log"] = "power",
    clusters: PositiveInt = 64,
    every: PositiveInt = 1,
) -> Sampler:
    """Personalised ranking with importance sampling, PRIS (Lian, Liu & Chen, WWW 2020).

    N draws from a law q, weighted by ``w_j = softmax_j((s_j - s_i) / tau - log q_j)`` without gradient, in a
    weighted BPR.

    proposal     q: "uniform", "popularity", or "cluster" as ``cluster`` draws
    n_negatives  N, 5 in the paper
    tau          temperature of the weights, 1 in the paper
    alpha, shape of the popularity law, as in ``popularity``
    clusters, every  of the cluster law, as in ``cluster``

    Cost N + (N + 1); "cluster" adds a score a cell. ``s_i`` is the same for the whole row and cancels, so
    it is not computed. Their code draws from all items, training positives included, and its clusters
    are a tree; here they are flat.
    """
    if proposal not in PROPOSALS:
        raise UsageError(f"proposal={proposal!r}, wanted one of {', '.join(PROPOSALS)}.{nearest(proposal, PROPOSALS)}")
    if proposal == "cluster":
        source = CellSoftmax(n_items, seen=seen, dim=dim, n_negatives=n_negatives, clusters=clusters, every=every)
    else:
        weight = shaped(seen, alpha=alpha, shape=shape) if proposal == "popularity" else None
        source = Weighted(n_items, seen=seen, n_negatives=n_negatives, weight=weight)
    return Chain(source, ImportanceWeight(tau=tau))


def cluster(
    n_items: int,
    *,
    seen: Seen,
    dim: int,
    n_negatives: PositiveInt = 64,
    clusters: PositiveInt = 64,
    every: PositiveInt = 1,
    alpha: float = 0.0,
    temperature: Positive = 1.0,
) -> Sampler:
    """Softmax draws through clusters of the items: ``q(j | u) ~ count_j^alpha exp(s(u, centre of j) / temperature)``.

    n_negatives  K
    clusters     C, k-means clusters of the item vectors
    every        epochs between two clusterings
    alpha        inside a cluster, and for its size: 0 all items alike, else by popularity
    temperature  that of the loss, so that q follows the softmax which the loss is about

    Cost C + (K + 1). ``log_q`` is exact; what the row's user has is masked, and ``log_q`` knows it.
    Before the first refresh the draws are those of ``alpha`` alone.
    """
    return _cells(n_items, 1, seen, dim, n_negatives, clusters, every, alpha, temperature)


def midx(
    n_items: int,
    *,
    seen: Seen,
    dim: int,
    n_negatives: PositiveInt = 64,
    clusters: PositiveInt = 16,
    every: PositiveInt = 1,
    alpha: float = 0.0,
    temperature: Positive = 1.0,
) -> Sampler:
    """Softmax draws through the inverted multi-index, MIDX: ``cluster`` with a codebook for each half of the vector.

    A cell is a pair of clusters, one a half; its centre is both centres together, so a cell's share is
    the product of the two halves' softmax terms and the joint count.

    clusters     C, k-means clusters a half: up to C^2 cells
    others       as in ``cluster``

    Cost n + (K + 1) for the n cells that hold an item. Known code scores the halves apart, 2 C half-width
    products a row; here a cell is scored like any vector, so that it works for a cosine too.
    """
    return _cells(n_items, 2, seen, dim, n_negatives, clusters, every, alpha, temperature)


def _cells(n_items, books, seen, dim, n_negatives, clusters, every, alpha, temperature) -> Sampler:
    weight = powered(seen.popularity(), alpha=alpha)
    return CellSoftmax(
        n_items,
        seen=seen,
        dim=dim,
        n_negatives=n_negatives,
        clusters=clusters,
        books=books,
        every=every,
        weight=weight,
        temperature=temperature,
    )


METHODS: dict[str, Callable] = {"pris": pris, "cluster": cluster, "midx": midx}

ALIASES: dict[str, str] = {"inverted_multi_index": "midx", "clusters": "cluster"}

LOSSES: dict[str, str] = {"cluster": "softmax:correct=importance", "midx": "softmax:correct=importance"}
