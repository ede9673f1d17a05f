"""A scorer over a table whose rows are brought to the present when they are read.

A lazy optimiser leaves rows without a gradient behind and owes them the steps that they missed. Whoever
rates items through this sees the rows as they stand now, at the price of those rows alone.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from negsieve.scorers import Dot


class Waking:
    """``scorer`` with ``wake`` called on every item, ``Long[n]``, before its row is read; None wakes all.

    The query's rows are awake already. A VectorScorer and Narrowing, as ``Dot`` is.
    """

    linear = True
    hops = 1

    def __init__(self, scorer: Dot, wake: Callable[[Tensor | None], None]) -> None:
        self._scorer, self._wake, self.query = scorer, wake, scorer.query

    def score(self, item: Tensor) -> Tensor:
        self._wake(item.reshape(-1))
        return self._scorer.score(item)

    def vectors(self, item: Tensor) -> Tensor:
        self._wake(item.reshape(-1))
        return self._scorer.vectors(item)

    def score_vectors(self, vector: Tensor) -> Tensor:
        return self._scorer.score_vectors(vector)

    def with_query(self, query: Tensor) -> Waking:
        return Waking(self._scorer.with_query(query), self._wake)

    def by_cosine(self, query: Tensor) -> Waking:
        return Waking(self._scorer.by_cosine(query), self._wake)

    def layer(self, hop: int) -> Waking:
        return Waking(self._scorer.layer(hop), self._wake)

    def query_at(self, hop: int) -> Tensor:
        return self._scorer.query_at(hop)

    def rows(self, place: Tensor) -> Waking:
        return Waking(self._scorer.rows(place), self._wake)

    def all(self) -> Tensor:
        """Every item's score, ``Float[B, I]``."""
        self._wake(None)
        return self._scorer.all()
