"""Accuracy of ranked lists from one boolean matrix: "the item at this place is relevant"."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from negsieve.kernels import native

METRICS = ("recall", "recall_capped", "precision", "hr", "mrr", "map", "map_capped", "ndcg")
"""docs/evaluation.md has their formulas. The kernel knows them by their place here."""
_TOGETHER = 64  # rows that the torch twin holds against their bars at a time


def rank_metrics(hit: Tensor, relevant: Tensor, metrics: Sequence[tuple[str, int]]) -> Tensor:
    """M metrics, each a name of METRICS and a cut-off >= 1, of n lists: ``Double[M, n]``.

    hit       ``Bool[n, K]``; a list that is shorter than a cut-off counts its missing places as misses
    relevant  ``Long[n]``: how many items are; a list without any has no value: NaN

    Sums are in double precision, in the order of the places. Cost: one read of ``hit`` and the number of hits a
    metric. Raises ValueError for a name that is not in METRICS, a cut-off below 1 and sizes that disagree.
    """
    _check(hit, relevant, metrics)
    if not native.serves(hit, relevant):
        return rank_metrics_reference(hit, relevant, metrics)
    gain = _gain(max([k for _, k in metrics], default=1), hit)
    which = torch.tensor([METRICS.index(name) for name, _ in metrics], dtype=torch.long)
    cut = torch.tensor([k for _, k in metrics], dtype=torch.long)
    out = gain.new_empty((len(metrics), len(hit)))
    sides = (hit.contiguous(), relevant.contiguous(), which, cut, gain, gain.cumsum(0))
    native.module().rank_metrics(*sides, out, native.threads())
    return out


def rank_metrics_reference(hit: Tensor, relevant: Tensor, metrics: Sequence[tuple[str, int]]) -> Tensor:
    """``rank_metrics`` in torch."""
    values = [_metric(name, k, hit[:, :k].double(), relevant) for name, k in metrics]
    return torch.stack(values) if values else hit.new_empty((0, len(hit)), dtype=torch.double)


def count_below(score: Tensor, row: Tensor, bar: Tensor) -> tuple[Tensor, Tensor]:
    """How many numbers of some rows lie below a bar, and how many at most at it: two ``Long[p]``.

    score  ``Float[c, I]``
    row    ``Long[p]``: the row that each bar is held against
    bar    ``Float[p]``

    Cost: a read of a row a bar. Raises IndexError for a row that is none.
    """
    if not native.serves(score, row, bar) or score.dtype != torch.float32 or bar.dtype != torch.float32:
        return count_below_reference(score, row, bar)
    below, upto = torch.empty_like(row), torch.empty_like(row)
    sides = (score.contiguous(), row.contiguous(), bar.contiguous())
    native.module().count_below(*sides, below, upto, native.threads())
    return below, upto


def count_below_reference(score: Tensor, row: Tensor, bar: Tensor) -> tuple[Tensor, Tensor]:
    """``count_below`` in torch."""
    found = [(row.new_empty(0), row.new_empty(0))]
    for some, limit in zip(row.split(_TOGETHER), bar[:, None].split(_TOGETHER), strict=True):
        held = score[some]
        found.append(((held < limit).sum(1), (held <= limit).sum(1)))
    below, upto = zip(*found, strict=True)
    return torch.cat(below), torch.cat(upto)


def _metric(name: str, k: int, hit: Tensor, relevant: Tensor) -> Tensor:
    number = relevant.double()
    capped = relevant.clamp(max=k).double()
    place = torch.arange(1, hit.shape[1] + 1, dtype=torch.double, device=hit.device)
    match name:
        case "recall":
            value = hit.sum(1) / number
        case "recall_capped":
            value = hit.sum(1) / capped
        case "precision":
            value = hit.sum(1) / k
        case "hr":
            value = hit.amax(1)
        case "mrr":
            value = (hit / place).amax(1)
        case "map" | "map_capped":
            gain = (hit * hit.cumsum(1) / place).sum(1)
            value = gain / (number if name == "map" else capped)
        case _:
            gain = _gain(k, hit)
            value = (hit * gain[: hit.shape[1]]).sum(1) / gain.cumsum(0)[relevant.clamp(1, k) - 1]
    return value.masked_fill(relevant == 0, torch.nan)


def _gain(k: int, like: Tensor) -> Tensor:
    """What a hit at each place gives to nDCG: ``Double[k]``."""
    return 1 / torch.log2(torch.arange(1, k + 1, dtype=torch.double, device=like.device) + 1)


def _check(hit: Tensor, relevant: Tensor, metrics: Sequence[tuple[str, int]]) -> None:
    if len(hit) != len(relevant):
        raise ValueError(f"rank_metrics: {len(hit)} lists beside {len(relevant)} numbers of relevant items")
    for name, k in metrics:
        if name not in METRICS or k < 1:
            raise ValueError(f"rank_metrics: no metric {name}@{k}; wanted a cut-off from 1 and one of {METRICS}")
