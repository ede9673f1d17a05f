"""Lloyd's clusters of vectors, by distance or by cosine, and how tight they are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from negsieve.kernels.centre import best_centre

_TOGETHER = 1 << 22  # entries of a matrix of rows by clusters that are held at a time


def k_means(
    vector: Tensor,
    clusters: int,
    rng: torch.Generator,
    *,
    rounds: int = 10,
    cosine: bool = False,
    start: Tensor | None = None,
    tolerance: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Lloyd's clusters of ``Float[I, D]``: each row's cluster ``Long[I]`` and the centres ``Float[C, D]``.

    rounds     updates of the centres at most
    cosine     a row belongs to the centre of the largest cosine instead of the nearest one; a centre is the
               mean of its rows either way
    start      centres of an earlier clustering to go on from; by default C different rows
    tolerance  stop where ``(sum_c |change of centre c|)^2`` falls below it

    A cluster that loses all its rows keeps its centre. All is alike at every call, on a GPU too, and for any number
    of threads where kernels are compiled. Cost: ``(rounds + 1) I C D`` multiply-adds, on a GPU twice that.
    """
    if start is None:
        start = vector[torch.randperm(len(vector), generator=rng, device=vector.device)[:clusters]]
    centre = start.clone()
    for _ in range(rounds):
        before = centre
        total, many = _sums(vector, nearest(vector, centre, cosine=cosine), len(centre))
        centre = torch.where(many[:, None] > 0, total / many.clamp_min(1)[:, None], centre)
        if tolerance and float((centre - before).norm(dim=1).sum().square()) < tolerance:
            break
    return nearest(vector, centre, cosine=cosine), centre


def nearest(vector: Tensor, centre: Tensor, *, cosine: bool = False) -> Tensor:
    """The centre that each row belongs to: ``Float[I, D]``, ``Float[C, D]`` -> ``Long[I]``."""
    if cosine:
        return best_centre(vector, normalize(centre, dim=1))
    return best_centre(vector, centre, centre.square().sum(1) / -2)


def means(vector: Tensor, near: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    """The mean of each cluster's rows, 0 for none, and their number: ``Float[C, D]``, ``Float[C]``."""
    total, many = _sums(vector, near, clusters)
    return total / many.clamp_min(1)[:, None], many


def concentration(vector: Tensor, near: Tensor, clusters: int) -> Tensor:
    """The mean over clusters of the mean cosine-like product of a row and its cluster's mean, ``Double[]``.

    For rows ``v`` of norm 1 and means ``m_c`` that is ``mean_c mean_{v in c} v m_c = mean_c |m_c|^2``, so no second
    pass is needed. Clusters without rows do not count. 0 for rows in all directions, 1 for clusters of one vector.
    """
    mean, many = means(vector, near, clusters)
    return mean.double().square().sum(1)[many > 0].mean()


def _sums(vector: Tensor, near: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    """The sum of each cluster's rows and their number, always in one order: ``Float[C, D]``, ``Float[C]``."""
    total = vector.new_zeros(clusters, vector.shape[1])
    many = torch.bincount(near, minlength=clusters).to(vector.dtype)
    if vector.device.type == "cpu":
        return total.index_add_(0, near, vector), many
    size = max(1, _TOGETHER // clusters)  # a GPU would add rows in any order, but multiplies in one
    for block, own in zip(vector.split(size), near.split(size), strict=True):
        total += block.new_zeros(len(own), clusters).scatter_(1, own[:, None], 1).T @ block
    return total, many
