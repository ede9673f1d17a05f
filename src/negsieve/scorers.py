"""One forward pass for one batch, ready to rate any items.

A sampler and a loss see a model only through this: MF, LightGCN, a text embedding, somebody
else's model. ``Dot`` serves every model whose score is a dot product or a cosine, ``Function``
any callable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from negsieve.histories import Aside, Histories
from negsieve.kernels.score import score_candidates
from negsieve.types import Batch


@runtime_checkable
class Scorer(Protocol):
    """Rates items for the B rows of one batch."""

    def score(self, item: Tensor) -> Tensor:
        """``item Long[B|1, M]`` -> ``Float[B, M]``; gradients flow where the model has them."""
        ...


@runtime_checkable
class VectorScorer(Scorer, Protocol):
    """A scorer whose score compares a query with an item vector that it can show."""

    query: Tensor  # [B, D]

    def vectors(self, item: Tensor) -> Tensor:
        """``Long[...]`` -> ``Float[..., D]``."""
        ...

    def score_vectors(self, vector: Tensor) -> Tensor:
        """``Float[B|1, M, D]`` -> ``Float[B, M]``: rates vectors that belong to no item."""
        ...

    def with_query(self, query: Tensor) -> VectorScorer:
        """The same items as other rows ``Float[b, D]`` see them: perturbed users, or those of an earlier epoch."""
        ...

    linear: bool  # whether the score is linear in the item's vector: a dot product is, a cosine is not

    hops: int  # how many layers the vectors are the mean of: H + 1, or 1 where there are none

    def layer(self, hop: int) -> VectorScorer:
        """The same query against the vectors of one layer, 0 .. hops - 1."""
        ...


@runtime_checkable
class LayeredQuery(VectorScorer, Protocol):
    """A scorer that can show its rows layer by layer too, as a graph model has them."""

    def query_at(self, hop: int) -> Tensor:
        """The rows' own vectors of one layer, ``Float[B, D]``."""
        ...


@runtime_checkable
class Narrowing(Scorer, Protocol):
    """A scorer that can stand for some of its rows only, for cheap measurements."""

    def rows(self, place: Tensor) -> Scorer:
        """``Long[b]`` -> a scorer of these b rows."""
        ...


@runtime_checkable
class Comparing(Scorer, Protocol):
    """A scorer that can also say how alike its items are to given vectors, whatever it scores by."""

    def by_cosine(self, query: Tensor) -> Scorer:
        """The same items by their cosines to ``Float[b, D]``."""
        ...


class Dot:
    """Scores by dot product or cosine: any two-tower model.

    query        ``Float[B, D]``
    table        ``Float[I, D]``
    stack        the H + 1 layers whose mean is ``table``, each ``Float[I, D]``; none: one layer
    query_stack  the layers whose mean is ``query``, each ``Float[B, D]``; none: the query stands for each
    cosine       normalise both sides
    temperature  the score is divided by it

    Cost of ``score``: B * M * D multiply-adds and as many reads; one matmul when ``item`` is shared.
    """

    def __init__(
        self,
        query: Tensor,
        table: Tensor,
        *,
        stack: tuple[Tensor, ...] | None = None,
        query_stack: tuple[Tensor, ...] | None = None,
        cosine: bool = False,
        temperature: float = 1.0,
    ) -> None:
        self.query, self.table, self.stack, self.query_stack = query, table, stack or (table,), query_stack
        self.cosine, self.temperature = cosine, temperature
        self._side = (_unit(query) if cosine else query) / temperature if (cosine or temperature != 1.0) else query

    def vectors(self, item: Tensor) -> Tensor:
        return gather(self.table, item)

    @property
    def hops(self) -> int:
        return len(self.stack)

    def layer(self, hop: int) -> Dot:
        return Dot(self.query, self.stack[hop], cosine=self.cosine, temperature=self.temperature)

    def query_at(self, hop: int) -> Tensor:
        return self.query if self.query_stack is None else self.query_stack[hop]

    def score(self, item: Tensor) -> Tensor:
        if len(item) != len(self.query):
            return self._side @ self._other(gather(self.table, item[0])).T
        return score_candidates(self._side, self.table, item, cosine=self.cosine)

    def score_vectors(self, vector: Tensor) -> Tensor:
        if len(vector) != len(self.query):
            return self._side @ self._other(vector[0]).T
        return _rate(self._side, self._other(vector))

    def with_query(self, query: Tensor) -> Dot:
        return Dot(query, self.table, stack=self.stack, cosine=self.cosine, temperature=self.temperature)

    def by_cosine(self, query: Tensor) -> Dot:
        return Dot(query, self.table, cosine=True)

    @property
    def linear(self) -> bool:
        return not self.cosine

    def _other(self, vector: Tensor) -> Tensor:
        return _unit(vector) if self.cosine else vector

    def rows(self, place: Tensor) -> Dot:
        layers = None if self.query_stack is None else tuple(one[place] for one in self.query_stack)
        return Dot(
            self.query[place],
            self.table,
            stack=self.stack,
            query_stack=layers,
            cosine=self.cosine,
            temperature=self.temperature,
        )

    def all(self) -> Tensor:
        """Every item's score, ``Float[B, I]``: what full ranking reads."""
        return self._side @ self.item_side().T

    @property
    def query_side(self) -> Tensor:
        """The rows' side of the product that every score is, ``Float[B, D]``."""
        return self._side

    def item_side(self) -> Tensor:
        """The items' side of it, ``Float[I, D]``: the table, or its rows as a cosine takes them."""
        return self._other(self.table)


class Crossed(Dot):
    """A query made of states in two domains: what a user did elsewhere, and what the user did here.

    query   ``Float[B, D]``, which is ``fuse(source, target)``
    table   ``Float[I, D]``, of the target domain
    source  ``Float[B, D]``; the state of what came before in the source domains, not normalised
    target  ``Float[B, D]``; that of the target domain, not normalised
    met     ``Bool[B]``; whether any row of a source domain came before
    fuse    ``(source, target) -> query``, for any number of rows
    cosine, temperature  as in ``Dot``
    """

    def __init__(
        self,
        query: Tensor,
        table: Tensor,
        *,
        source: Tensor,
        target: Tensor,
        met: Tensor,
        fuse: Callable[[Tensor, Tensor], Tensor],
        cosine: bool = False,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(query, table, cosine=cosine, temperature=temperature)
        self.source, self.target, self.met, self.fuse = source, target, met, fuse

    def crossed(self, target: Tensor) -> Dot:
        """The same source states beside other target states ``Float[B, D]``: the transferred view of RealHNS."""
        return self.with_query(self.fuse(self.source, target))

    def rows(self, place: Tensor) -> Crossed:
        return Crossed(
            self.query[place],
            self.table,
            source=self.source[place],
            target=self.target[place],
            met=self.met[place],
            fuse=self.fuse,
            cosine=self.cosine,
            temperature=self.temperature,
        )


class Function:
    """Wraps a callable ``item Long[B|1, M] -> Float[B, M]``: any model at all."""

    def __init__(self, rate: Callable[[Tensor], Tensor]) -> None:
        self._rate = rate

    def score(self, item: Tensor) -> Tensor:
        return self._rate(item)


class Towers:
    """An encoder of frozen or live tables: ``Batch -> Dot``. ``export`` reads ``user`` and ``item``.

    ``stack`` and ``user_stack`` are the layers whose mean is ``item`` and ``user``.
    """

    def __init__(
        self,
        user: Tensor,
        item: Tensor,
        *,
        stack: tuple[Tensor, ...] | None = None,
        user_stack: tuple[Tensor, ...] | None = None,
        cosine: bool = False,
        temperature: float = 1.0,
    ) -> None:
        self.user, self.item, self.stack, self.user_stack = user, item, stack, user_stack
        self.cosine, self.temperature = cosine, temperature

    def __call__(self, batch: Batch) -> Dot:
        layers = None if self.user_stack is None else tuple(gather(one, batch.user) for one in self.user_stack)
        return Dot(
            gather(self.user, batch.user),
            self.item,
            stack=self.stack,
            query_stack=layers,
            cosine=self.cosine,
            temperature=self.temperature,
        )


Encoder = Callable[[Batch], Scorer]


@runtime_checkable
class HistoryEncoder(Protocol):
    """An encoder whose queries are made of what the users did: it has an item table, and users only as they come."""

    order: str  # in which it reads a user's rows: "time" or "given"
    item: Tensor  # [I, D]
    aside: Aside | None  # what it knows of source domains; None: it reads nothing of them

    def __call__(self, batch: Batch) -> Scorer: ...

    def reading(self, histories: Histories, aside: Aside | None = None) -> HistoryEncoder:
        """The same encoder with other histories of the users, and other rows of source domains where it reads any."""
        ...

    def towers(self) -> Towers:
        """All users encoded."""
        ...


NEEDS = {
    "vectors": "item vectors that can be shown (a VectorScorer)",
    "layers": "the vectors of several layers, as a graph model has",
    "dot": "a score that is linear in the item's vector, as a dot product is and a cosine is not",
    "domains": "the states of two domains beside the query (a Crossed), which a run with a source domain has",
}
"""What a sampler or a loss may need of a scorer beyond scores, and what each is called."""


def offered(scorer: Scorer) -> frozenset[str]:
    """Which of ``NEEDS`` a scorer serves."""
    if not isinstance(scorer, VectorScorer):
        return frozenset()
    found = {"vectors"} | ({"layers"} if scorer.hops > 1 else set()) | ({"dot"} if scorer.linear else set())
    return frozenset(found | ({"domains"} if isinstance(scorer, Crossed) else set()))


def gather(table: Tensor, place: Tensor) -> Tensor:
    """``table[place]``, ``[I, D]`` and ``Long[...]`` -> ``[..., D]``; its backward costs half of indexing's."""
    return table.index_select(0, place.reshape(-1)).view(*place.shape, table.shape[1])


def _rate(query: Tensor, vector: Tensor) -> Tensor:
    return torch.einsum("bd,bmd->bm", query, vector)  # [B, M]


def _unit(vector: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vector, dim=-1)
