"""Counts what is asked of a scorer: the cost of a method is measured, not declared.

A score evaluation is one number of a row for one item or vector. Items that the batch shares count
once a row, because each row gets its own number from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from negsieve.scorers import Encoder, LayeredQuery, Scorer, VectorScorer
from negsieve.types import Batch


@dataclass
class Tally:
    """Score evaluations without gradient (``frozen``), with it (``live``), and vectors shown to the sampler."""

    frozen: int = 0
    live: int = 0
    shown: int = 0

    def add(self, score: Tensor) -> Tensor:
        """Counts scores ``Float[B, M]`` and gives them back."""
        if score.requires_grad:
            self.live += score.numel()
        else:
            self.frozen += score.numel()
        return score


class CountingScores:
    """A scorer that only scores, counted into ``tally``."""

    def __init__(self, inner: Scorer, tally: Tally) -> None:
        self._inner, self._tally = inner, tally

    def score(self, item: Tensor) -> Tensor:
        return self._tally.add(self._inner.score(item))

    def __getattr__(self, name: str) -> Any:
        """What else a scorer has is passed on; ``all``, every item's score, is counted."""
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self._inner, name)
        if name == "crossed":
            return lambda target: counted(found(target), self._tally)
        return (lambda: self._tally.add(found())) if name == "all" else found


class CountingVectors(CountingScores):
    """A scorer that shows its vectors, counted; so are its layers and what it makes for other queries."""

    @property
    def query(self) -> Tensor:
        return self._inner.query

    @property
    def linear(self) -> bool:
        return self._inner.linear

    @property
    def hops(self) -> int:
        return self._inner.hops

    def vectors(self, item: Tensor) -> Tensor:
        self._tally.shown += item.numel()
        return self._inner.vectors(item)

    def score_vectors(self, vector: Tensor) -> Tensor:
        return self._tally.add(self._inner.score_vectors(vector))

    def layer(self, hop: int) -> CountingScores:
        return counted(self._inner.layer(hop), self._tally)

    def with_query(self, query: Tensor) -> CountingScores:
        return counted(self._inner.with_query(query), self._tally)

    def by_cosine(self, query: Tensor) -> CountingScores:
        return counted(self._inner.by_cosine(query), self._tally)

    def rows(self, place: Tensor) -> CountingScores:
        return counted(self._inner.rows(place), self._tally)


class CountingLayers(CountingVectors):
    """A scorer that shows its query layer by layer too."""

    def query_at(self, hop: int) -> Tensor:
        return self._inner.query_at(hop)


def counted(scorer: Scorer, tally: Tally) -> CountingScores:
    """``scorer`` with everything that is asked of it counted; it offers what the scorer offers."""
    if isinstance(scorer, LayeredQuery):
        return CountingLayers(scorer, tally)
    return (CountingVectors if isinstance(scorer, VectorScorer) else CountingScores)(scorer, tally)


class CountingEncoder:
    """An encoder whose scorers are counted: what ``refresh`` is given."""

    def __init__(self, inner: Encoder, tally: Tally) -> None:
        self._inner, self._tally = inner, tally

    def __call__(self, batch: Batch) -> CountingScores:
        return counted(self._inner(batch), self._tally)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._inner, name)
