"""Static proposals: the law of a negative does not depend on the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from negsieve.errors import UsageError, nearest
from negsieve.samplers.alias import Alias
from negsieve.samplers.base import Sampler
from negsieve.samplers.combine import Concat
from negsieve.samplers.draw import InBatch, Shared, Weighted, powered
from negsieve.samplers.frequency import Frequency
from negsieve.samplers.queue import Queue
from negsieve.seen import Seen

SHAPES = ("power", "log")
LAWS = ("corpus", "streaming")


def uniform(
    n_items: int, *, seen: Seen, n_negatives: PositiveInt = 1, exclude: Literal["train", "positive", "none"] = "train"
) -> Sampler:
    """Uniform negatives, RNS (Rendle et al., BPR, UAI 2009): ``j ~ U(I \\ I_u)``.

    Cost 0 + (K + 1). Exclusion is exact, without rejection. Many codes draw from all items instead,
    training positives included: ``exclude="none"`` does as they do, and is not the default.
    """
    return Weighted(n_items, seen=seen, n_negatives=n_negatives, exclude=exclude)


def popularity(
    n_items: int,
    *,
    seen: Seen,
    alpha: float = 0.75,
    shape: Literal["power", "log"] = "power",
    n_negatives: PositiveInt = 1,
) -> Sampler:
    """Popularity negatives, PNS (Chen et al., KDD 2017): ``q(j) ~ count_j^alpha`` over ``I \\ I_u``.

    alpha  0 is uniform, 1 the training frequency; grid .25, .5, .75, 1
    shape  "power", or "log" for ``log(count_j + 1)^alpha``, flatter at the top: with alpha 1 AdaSIR's law

    Cost 0 + (K + 1). ``log_q`` is exact. Some codes draw without replacement and still correct by the
    law with replacement; here draws are with replacement.
    """
    return Weighted(n_items, seen=seen, n_negatives=n_negatives, weight=shaped(seen, alpha=alpha, shape=shape))


def alias(
    n_items: int,
    *,
    seen: Seen,
    alpha: float = 0.75,
    n_negatives: PositiveInt = 1,
    exclude: Literal["train", "positive", "none"] = "train",
) -> Sampler:
    """Popularity negatives in constant time by an alias table (Walker, 1977): ``q(j) ~ count_j^alpha`` over all items.

    alpha    0 is uniform, 1 the training frequency
    exclude  what is masked afterwards: all that the row's user has, the row's positive alone, or nothing

    Cost 0 + (K + 1). A masked draw is lost, so a row has fewer than K negatives at times; ``popularity``
    draws again instead and loses none.
    """
    weight = powered(seen.popularity(), alpha=alpha)
    return Alias(n_items, seen=seen, n_negatives=n_negatives, weight=weight, exclude=exclude)


def in_batch(
    n_items: int, *, seen: Seen, law: Literal["corpus", "streaming"] = "corpus", rate: float = 0.05
) -> Sampler:
    """The other positives of the batch, with log q (Yi et al., RecSys 2019).

    law   where log q comes from: "corpus", the training frequency, or "streaming", the paper's estimate
          from how many steps pass between two visits of an item
    rate  how fast that estimate follows

    Cost 0 + B, by one matmul; its loss is a softmax, and with ``law="streaming"`` one that is corrected.
    Equal items, and items that the row's user has seen, are masked, which the paper does not do.
    """
    if law not in LAWS:
        raise UsageError(f"law={law!r}, wanted one of {', '.join(LAWS)}.{nearest(law, LAWS)}")
    frequency = Frequency(n_items, rate=rate) if law == "streaming" else None
    return InBatch(seen.popularity(), seen=seen, frequency=frequency)


def mns(n_items: int, *, seen: Seen, n_negatives: PositiveInt = 256, alpha: float = 0.0) -> Sampler:
    """Mixed negatives, MNS (Yang et al., WWW 2020): the batch's other positives and some of the whole catalogue.

    n_negatives  B', shared by the batch; about as many as the batch has rows, in the paper up to twice
    alpha        0 draws them uniformly, as the paper does, else by count^alpha

    ``log_q`` is the mixture's, ``q(j) = (B p_j + B' / I) / (B + B')`` with p the training frequency, for
    every negative wherever it came from, and for the positive. Cost 0 + (B + B'), by one matmul. Known code takes
    the training frequency for the uniform half too, which corrects by the wrong law.
    """
    catalogue = Shared(n_items, seen=seen, n_negatives=n_negatives, weight=_weight(seen, alpha))
    return Concat(InBatch(seen.popularity(), seen=seen), catalogue, mixture=True)


def cbns(n_items: int, *, seen: Seen, dim: int, size: PositiveInt = 4096, warm_up: NonNegativeInt = 1) -> Sampler:
    """Cross-batch negatives, CBNS (Wang, Zhu & He, SIGIR 2021): positives of this batch and of earlier ones.

    size     M, how many positives the queue remembers with the vectors they then had
    warm_up  epochs before the queue is used

    ``log_q`` is the training frequency on both sides. Cost 0 + (B + M) dot products, without gradient into
    the queue. What the row's user has is masked in both.
    """
    count = seen.popularity()
    return Concat(InBatch(count, seen=seen), Queue(count, seen=seen, dim=dim, size=size, warm_up=warm_up), mixture=True)


def shared(n_items: int, *, seen: Seen, n_negatives: PositiveInt = 256, alpha: float = 0.0) -> Sampler:
    """One set of K negatives for the whole batch, with log q: sampled softmax (Jean et al., ACL 2015).

    alpha  0 draws uniformly, else by count^alpha

    Cost 0 + (K + 1), by one matmul. What a row's user has seen is masked.
    """
    return Shared(n_items, seen=seen, n_negatives=n_negatives, weight=_weight(seen, alpha))


def shaped(seen: Seen, *, alpha: float, shape: str):
    """Integer weights by popularity, ``Long[I]``: ``count^alpha``, or ``log(count + 1)^alpha``. None: all equal."""
    if shape not in SHAPES:
        raise UsageError(f"shape={shape!r}, wanted one of {', '.join(SHAPES)}.{nearest(shape, SHAPES)}")
    count = seen.popularity()
    return powered(count.double().log1p() if shape == "log" else count, alpha=alpha)


def _weight(seen: Seen, alpha: float):
    return shaped(seen, alpha=alpha, shape="power")


def _shared_loss(params: Mapping[str, object]) -> str:
    return "softmax:correct=log_q" if float(str(params.get("alpha", 0))) else "softmax"


METHODS = {
    "uniform": uniform,
    "popularity": popularity,
    "alias": alias,
    "in_batch": in_batch,
    "mns": mns,
    "cbns": cbns,
    "shared": shared,
}

ALIASES = {
    "rns": "uniform",
    "random": "uniform",
    "bpr": "uniform",
    "pns": "popularity",
    "pop": "popularity",
    "nncf": "popularity",
    "walker": "alias",
    "inbatch": "in_batch",
    "mixed": "mns",
    "cross_batch": "cbns",
    "sampled_softmax": "shared",
}

LOSSES = {
    "in_batch": "softmax:correct=log_q",
    "shared": _shared_loss,
    "mns": "softmax:correct=log_q",
    "cbns": "softmax:correct=log_q",
}
