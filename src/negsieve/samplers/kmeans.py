"""Lloyd's clusters of vectors, by distance or by cosine, and how tight they are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

_IN_CACHE = 1 << 22  # distances held at a time


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

    A cluster that loses all its rows keeps its centre. Sums are matrix products, hence alike at every call, on a
    GPU too. Cost: ``2 rounds I C D`` multiply-adds.
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
        centre = normalize(centre, dim=1)
        return torch.cat([(block @ centre.T).argmax(1) for block in _blocks(vector, len(centre))])
    square = centre.square().sum(1)
    return torch.cat([(square - 2 * block @ centre.T).argmin(1) for block in _blocks(vector, len(centre))])


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
    total, many = vector.new_zeros(clusters, vector.shape[1]), vector.new_zeros(clusters)
    for block, own in zip(_blocks(vector, clusters), near.split(_rows(clusters)), strict=True):
        member = block.new_zeros(len(own), clusters).scatter_(1, own[:, None], 1)  # [b, C]
        total, many = total + member.T @ block, many + member.sum(0)
    return total, many


def _blocks(vector: Tensor, clusters: int) -> tuple[Tensor, ...]:
    return vector.split(_rows(clusters))


def _rows(clusters: int) -> int:
    return max(1, _IN_CACHE // clusters)
