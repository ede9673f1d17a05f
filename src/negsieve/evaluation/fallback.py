"""What users are served: by what the model may know of them, and popular items where it knows nothing.

A trained model holds nothing about such a user but the noise of its first values. ``recommend``
serves popularity there, and the Evaluator measures what is served. A model that reads histories is
given those that stand before what is asked for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.data.dataset import Dataset
from negsieve.evaluation.rank import every_score
from negsieve.histories import Aside, Histories
from negsieve.scorers import Encoder, HistoryEncoder, Scorer
from negsieve.types import Batch


def knowing(encoder: Encoder, dataset: Dataset, *parts: str) -> Encoder:
    """The encoder with the rows of ``parts`` as users' histories, where it reads any; else itself.

    One that reads source domains gets their rows too, as far as they stand before what ``parts`` stand before.
    Cost: a sort of the rows.
    """
    if not isinstance(encoder, HistoryEncoder):
        return encoder
    return encoder.reading(*known(encoder, dataset, *parts))


def known(encoder: HistoryEncoder, dataset: Dataset, *parts: str) -> tuple[Histories, Aside | None]:
    """What such an encoder reads of ``parts``: users' histories, and the source rows beside them."""
    aside = None if encoder.aside is None else dataset.asides(*parts, order=encoder.order)
    return dataset.histories(*parts, order=encoder.order), aside


class Popular:
    """An encoder that gives every user the same scores: each item's number of train users.

    count  ``Long[I]`` or ``Float[I]``
    """

    def __init__(self, count: Tensor) -> None:
        self.count = count.to(torch.float32)

    def __call__(self, batch: Batch) -> Shared:
        return Shared(self.count.to(batch.user.device), rows=len(batch))


class Shared:
    """A scorer whose B rows all have the same scores ``Float[I]``."""

    def __init__(self, value: Tensor, *, rows: int) -> None:
        self._value, self._rows = value, rows

    def score(self, item: Tensor) -> Tensor:
        return self._value[item].expand(self._rows, -1)

    def all(self) -> Tensor:
        """``Float[B, I]``, expanded: reading is free, writing is not allowed."""
        return self._value.expand(self._rows, -1)


class ServeCold:
    """Wraps an encoder: rows of users without a train row get popularity scores instead.

    A batch without such users passes through untouched and costs nothing.
    """

    def __init__(self, encoder: Encoder, dataset: Dataset) -> None:
        self._encoder = encoder
        self._cold = (dataset.train.degree() == 0).cpu()
        self._count = dataset.train.popularity().cpu().to(torch.float32)

    def __call__(self, batch: Batch) -> Scorer:
        scorer = self._encoder(batch)
        cold = self._cold.to(batch.user.device)[batch.user]
        if not bool(cold.any()):
            return scorer
        return _Patched(scorer, batch, cold, self._count.to(batch.user.device))

    def divide(self, users: Tensor) -> list[tuple[Encoder, Tensor]]:
        """The model and popularity, each with the places of ``users`` that it serves."""
        cold = self._cold.to(users.device)[users]
        sides = ((self._encoder, ~cold), (Popular(self._count), cold))
        return [(encoder, own.nonzero()[:, 0]) for encoder, own in sides]


class _Patched:
    """A scorer with some rows replaced by popularity."""

    def __init__(self, scorer: Scorer, batch: Batch, cold: Tensor, count: Tensor) -> None:
        self._scorer, self._batch, self._cold, self._count = scorer, batch, cold, count

    def score(self, item: Tensor) -> Tensor:
        own = self._scorer.score(item)
        return torch.where(self._cold.to(own.device)[:, None], self._count.to(own)[item.to(own.device)], own)

    def all(self) -> Tensor:
        own = every_score(self._scorer, self._batch.user, n_items=len(self._count))
        return torch.where(self._cold.to(own.device)[:, None], self._count.to(own), own)
