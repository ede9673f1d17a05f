"""What flows between the rooms: a batch of positives, and the negatives drawn for it.

Shape legend, used in every docstring and trailing comment: B rows, K negatives, M candidates,
D width, H hops (a graph model has H + 1 layers), I items, U users, L history. ``[B|1, M]`` is a
tensor whose first side is B, or 1 when all rows share it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """B observed interactions.

    user, item  ``Long[B]``; ``item`` is the positive, ``None`` where users are only ranked
    row         ``Long[B]``; the place in the training table, for memory kept a row and for what came before it
    history     ``Long[B, L]``; the items that came before, oldest first, -1 where there are fewer: for loops
                and services without a training table. A sequence model knows the history of a ``row`` itself
    noise       key of the forward pass's own randomness, such as dropout; none: the pass has none
    """

    user: Tensor
    item: Tensor | None = None
    row: Tensor | None = None
    history: Tensor | None = None
    noise: int | None = None

    def __len__(self) -> int:
        return len(self.user)

    @property
    def number(self) -> Tensor:
        """What keyed draws depend on, ``Long[B]``: ``row``, or without one the place in the batch."""
        return torch.arange(len(self.user), device=self.user.device) if self.row is None else self.row

    def rows(self, place: Tensor) -> Batch:
        """Some of its rows, ``Long[b]``."""
        sides = {name: getattr(self, name) for name in ("user", "item", "row", "history")}
        return replace(self, **{name: side[place] for name, side in sides.items() if side is not None})

    def to(self, device) -> Batch:
        """The same batch on another device."""
        sides = {name: getattr(self, name) for name in ("user", "item", "row", "history")}
        return replace(self, **{name: side.to(device) for name, side in sides.items() if side is not None})


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows of the training table that share one forward pass, and so are visited together.

    row     ``Long[n]``, group after group
    offset  ``Long[g + 1]``: group i is ``row[offset[i]:offset[i + 1]]``; none is empty
    """

    row: Tensor
    offset: Tensor

    def __len__(self) -> int:
        return len(self.offset) - 1


ORIGINS = ("random", "general", "cross", "fallback")
"""What a negative may have come from: a random draw, a hard one of the own domain or by way of another domain, or
a random draw in the place of a hard one that was filtered out."""


@dataclass(frozen=True, slots=True)
class Negatives:
    """Negatives for a batch. Every field but ``item`` may be absent.

    item       ``Long[B, K]``, or ``Long[1, K]`` shared by the batch: one matmul instead of a gather
    keep       ``Bool[B, K]``; False: filtered out, no loss may count it
    log_q      ``Float[B|1, K]``; log-probability under the proposal
    weight     ``Float[B, K]``; importance weights: losses then sum instead of averaging
    vector     ``Float[B|1, K, D]``; a synthetic negative that replaces the item's own vector; its first
               side is 1 only where ``item``'s is
    ego        ``Float[B, K, D]``; the layer-0 part of ``vector``, which L2 reads
    parts      ``Long[B, K, S]``; the items a synthetic negative was made of, for measuring
    positive_log_q  ``Float[B]``; log-probability of the positive under the same proposal
    bound      ``Float[B]``; a score that the row's positive is measured against, such as the top-K threshold
    origin     ``Int8[B, K]``; how each came to be, a place in ``ORIGINS``: only the meter reads it
    """

    item: Tensor
    keep: Tensor | None = None
    log_q: Tensor | None = None
    weight: Tensor | None = None
    vector: Tensor | None = None
    ego: Tensor | None = None
    parts: Tensor | None = None
    positive_log_q: Tensor | None = None
    bound: Tensor | None = None
    origin: Tensor | None = None
