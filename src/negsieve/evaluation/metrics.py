"""What a list of recommendations is worth: accuracy by user, and the shape of all lists together.

Accuracy metrics read one boolean matrix, "the item at this place is held out", and the number of
held-out items of each user, so every metric is two lines and a group of items (warm, cold) is the
same matrix with fewer hits. docs/evaluation.md has the formulas and the choice of variants.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from negsieve.errors import UsageError, nearest
from negsieve.evaluation.rank import TopK
from negsieve.kernels.metrics import count_below, rank_metrics
from negsieve.seen import Seen

ACCURACY = ("recall", "recall_capped", "ndcg", "hr", "precision", "mrr", "map", "map_capped")
LISTS = ("coverage", "gini", "avg_popularity", "novelty")
AUC = "auc"
DEFAULT_METRICS = (
    *(f"{name}@20" for name in ("recall", "ndcg", "hr", "precision", "mrr", "map")),
    *("recall@10", "ndcg@10", "recall_capped@20"),
    *(f"{name}@20" for name in LISTS),
)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name and cut-off; ``k`` is None for ``auc``. ``str`` gives the text it was read from."""

    name: str
    k: int | None

    def __str__(self) -> str:
        return self.name if self.k is None else f"{self.name}@{self.k}"

    @property
    def of_lists(self) -> bool:
        """Whether it describes all lists together and has no value a user."""
        return self.name in LISTS


def parse_metric(text: str) -> Metric:
    """Reads ``"recall@20"``, ``"ndcg@10"``, ``"coverage@20"`` or ``"auc"``, in either case.

    Raises UsageError with a did-you-mean for an unknown name, and for a cut-off that is missing,
    not a positive number, or given to ``auc``.
    """
    name, at, cut = text.strip().lower().partition("@")
    if name == AUC:
        if at:
            raise UsageError(f"metric {text!r}: auc reads the whole ranking and takes no cut-off; write 'auc'")
        return Metric(AUC, None)
    if name not in (*ACCURACY, *LISTS):
        known = (*ACCURACY, *LISTS, AUC)
        raise UsageError(f"no metric is called {name!r}.{nearest(name, known)} Known: {', '.join(known)}")
    if not re.fullmatch(r"[0-9]{1,6}", cut) or int(cut) < 1:
        raise UsageError(f"metric {text!r}: wanted a list length from 1 to 999999 after @, as in '{name}@20'")
    return Metric(name, int(cut))


def parse_metrics(texts: Iterable[str]) -> tuple[Metric, ...]:
    """Reads several names, keeps their order and drops repeats; UsageError where none is given."""
    if isinstance(texts, str):
        texts = texts.split(",")
    found = tuple(dict.fromkeys(parse_metric(text) for text in texts))
    if not found:
        raise UsageError("no metric given: name at least one, as in 'ndcg@20'")
    return found


def hits(top: TopK, users: Tensor, held: Seen) -> Tensor:
    """Whether the item at each place of each list is held out for that user: ``Bool[n, K]``."""
    where = held.offset.device
    found = held.contains(users.to(where), top.item.clamp_min(0).to(where)).to(top.item.device)
    return found & (top.item >= 0)


def accuracy(metric: Metric, hit: Tensor, relevant: Tensor) -> Tensor:
    """One accuracy metric for n users, ``Double[n]``; ``hit Bool[n, >= k]``, ``relevant Long[n]`` >= 1.

    A list that is shorter than k counts its missing places as misses. A user with nothing relevant
    has no value: NaN, which callers leave out.
    """
    return accuracies((metric,), hit, relevant)[metric]


def accuracies(metrics: Iterable[Metric], hit: Tensor, relevant: Tensor) -> dict[Metric, Tensor]:
    """Several accuracy metrics as ``accuracy`` gives them, in one pass; UsageError for one that is none."""
    metrics = tuple(metrics)
    for metric in metrics:
        if metric.name not in ACCURACY:
            raise UsageError(f"{metric.name!r} is no accuracy metric")
    values = rank_metrics(hit, relevant, [(metric.name, metric.k) for metric in metrics])
    return dict(zip(metrics, values, strict=True))


def at_place(metric: Metric, place: Tensor) -> Tensor:
    """An accuracy metric of a list whose one relevant item stands at ``place Double[p]``, from 0: ``Double[p]``.

    Places between two, where ties are halved, count as their formula says. UsageError for another metric.
    """
    hit = (place < metric.k).double()
    match metric.name:
        case "recall" | "recall_capped" | "hr":
            return hit
        case "precision":
            return hit / metric.k
        case "mrr" | "map" | "map_capped":
            return hit / (place + 1)
        case "ndcg":
            return hit / torch.log2(place + 2)
    raise UsageError(f"{metric.name!r} is no accuracy metric")


def pair_auc(score: Tensor, row: Tensor, item: Tensor) -> Tensor:
    """For each held-out pair, the share of the other eligible items that it outranks: ``Double[p]``.

    score      ``Float[c, I]``, -inf where masked; **overwritten** at the held-out places
    row, item  ``Long[p]``: the held-out pairs, all of them

    The others are the unmasked items that are not held out for that user; a tie counts half. A held-out
    item that is itself masked can never be served: 0. Where no other item is left: 0.5.
    Cost: a read of a row a pair.
    """
    row, item = row.to(score.device), item.to(score.device)
    own = score[row, item]  # [p]
    score[row, item] = -torch.inf
    every = torch.arange(len(score), device=score.device)
    out = count_below(score, every, torch.full_like(score[:, 0], -torch.inf))[1][row]  # [p]
    eligible = score.shape[1] - out
    below, upto = count_below(score, row, own)  # the ineligible are all below
    value = ((below + upto).double() / 2 - out) / eligible.clamp_min(1)
    value[eligible == 0] = 0.5
    value[own == -torch.inf] = 0.0
    return value.cpu()


def of_lists(metric: Metric, top: TopK, popularity: Tensor, *, n_users: int) -> float:
    """One metric of all lists together; ``popularity Long[I]`` counts each item's train users.

    ``n_users`` is the number of users with a train row, for novelty. Raises UsageError for a metric
    that is not one of LISTS. All lists empty: coverage 0, the others 0.
    """
    item = top.item[:, : metric.k].flatten()
    item = item[item >= 0].to(popularity.device)
    shown = torch.bincount(item, minlength=len(popularity))  # how many lists hold each item  # [I]
    if not len(item):
        return 0.0
    match metric.name:
        case "coverage":
            return float((shown > 0).double().mean())
        case "gini":
            return _gini(shown.double())
        case "avg_popularity":
            return float(popularity[item].double().mean())
        case "novelty":
            share = popularity[item].clamp_min(1).double() / max(n_users, 1)
            return float(-torch.log2(share).mean())
    raise UsageError(f"{metric.name!r} is no metric of lists")


def _gini(count: Tensor) -> float:
    """Gini index of non-negative counts: 0 all alike, 1 - 1/I one item takes all."""
    n = len(count)
    weight = 2 * torch.arange(1, n + 1, dtype=torch.double, device=count.device) - n - 1
    return float((weight * count.sort().values).sum() / (n * count.sum()))
