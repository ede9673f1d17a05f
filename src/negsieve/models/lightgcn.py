"""LightGCN: embeddings averaged over hops of the user-item graph (He et al., SIGIR 2020).

``E_{h+1} = D^-1/2 A D^-1/2 E_h``, the final embedding is the mean of ``E_0 .. E_H``. The graph holds
train rows only. The normalised adjacency is symmetric, so the gradient of a propagation is the
propagation of the gradient: the backward pass never transposes anything.
"""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from negsieve.errors import UsageError
from negsieve.kernels.graph import Graph, multiply
from negsieve.models.base import Model, check_temperature, row_penalty, similarity_is_cosine, start_tables
from negsieve.scorers import Towers
from negsieve.seen import Seen


class LightGCN(Model):
    """Graph convolution without transformations or nonlinearities.

    train        the pairs that make the graph
    layers       hops H; 0 is plain MF
    dim, init, init_std, similarity, temperature  as in ``MF``

    Cost of one forward pass: H products of the ``2 * |train|`` adjacency with ``[U + I, D]``, and as
    much again for backward. Memory: ``(H + 1) * 4 * D * (U + I)`` bytes of layers beside the tables.
    ``training.compiled_graph`` trains it with less of both.
    """

    noisy = False

    def __init__(
        self,
        n_users: int,
        n_items: int,
        *,
        train: Seen,
        dim: PositiveInt = 64,
        layers: NonNegativeInt = 3,
        init: Literal["normal", "xavier_uniform"] = "normal",
        init_std: PositiveFloat = 0.1,
        similarity: Literal["dot", "cosine"] = "dot",
        temperature: PositiveFloat = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if layers < 0:
            raise UsageError(f"layers={layers}, wanted 0 or more")
        self.n_users, self.n_items, self.dim, self.hops = n_users, n_items, dim, layers
        self.cosine, self.temperature = similarity_is_cosine(similarity), check_temperature(temperature)
        self.user, self.item = start_tables(n_users, n_items, dim=dim, init=init, std=init_std, seed=seed)
        self.register_buffer("adjacency", normalised_adjacency(train), persistent=False)
        self._graph: Graph | None = None

    @property
    def graph(self) -> Graph:
        """The adjacency as the kernels read it, made again where it was moved or copied."""
        if self._graph is None or self._graph.adjacency is not self.adjacency:
            self._graph = Graph(self.adjacency)
        return self._graph

    def _towers(self, user: Tensor, item: Tensor) -> Towers:
        start = torch.cat([user, item])
        pooled, *layers = _Propagate.apply(self.graph, start, self.hops)
        stack = (start, *layers)
        return Towers(
            pooled[: self.n_users],
            pooled[self.n_users :],
            stack=tuple(one[self.n_users :] for one in stack),
            user_stack=tuple(one[: self.n_users] for one in stack),
            cosine=self.cosine,
            temperature=self.temperature,
        )

    def encode(self, batch):
        return self._towers(self.user, self.item)(batch)

    def penalty(self, batch, negatives):
        return row_penalty(self.user, self.item, batch, negatives)

    def step_bytes(self, rows, drawn):
        layers = (self.hops + 2) * 4 * self.dim * (self.n_users + self.n_items)
        return super().step_bytes(rows, drawn) + layers

    @torch.no_grad()
    def frozen(self):
        return self._towers(self.user, self.item)


class _Propagate(torch.autograd.Function):
    """``x_0 -> (mean of x_0 .. x_H, x_1, .., x_H)`` with ``x_{h+1} = A x_h`` for a symmetric sparse A.

    Backward runs the same products on the gradients, last layer first: H of them, no transpose and
    no intermediate sums left to autograd.
    """

    @staticmethod
    def forward(ctx, graph: Graph, start: Tensor, hops: int):
        ctx.graph, ctx.hops = graph, hops
        ctx.set_materialize_grads(False)
        layers, pooled = [start], start.clone()
        # sparse products exist in single precision only, whatever autocast would like
        with torch.autocast(start.device.type, enabled=False):
            for _ in range(hops):
                layers.append(multiply(graph, layers[-1]))
                pooled += layers[-1]
        return pooled.div_(hops + 1), *layers[1:]

    @staticmethod
    def backward(ctx, pooled: Tensor | None, *layers: Tensor | None):
        share = None if pooled is None else pooled.contiguous() / (ctx.hops + 1)
        total = None
        for own in (*reversed(layers), None):
            total = None if total is None else multiply(ctx.graph, total)
            for part in (share, own):
                if part is not None:
                    total = part.contiguous() if total is None else total + part
        return None, total, None


def normalised_adjacency(train: Seen) -> Tensor:
    """``D^-1/2 A D^-1/2`` over users then items as a sparse CSR float tensor ``[U + I, U + I]``.

    It has exactly two entries a train pair; rows without a pair are empty.
    """
    n, size = len(train), train.n_users + train.n_items
    user, item = train.owner, train.item + train.n_users
    degree = torch.cat([train.degree(), train.popularity()])
    scale = degree.clamp_min(1).double().rsqrt()
    key = torch.cat([user * size + item, item * size + user]).sort().values
    row, column = key // size, key % size
    offset = torch.zeros(size + 1, dtype=torch.int32)
    offset[1:] = degree.cumsum(0)
    value = (scale[row] * scale[column]).float()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        adjacency = torch.sparse_csr_tensor(offset, column.to(torch.int32), value, (size, size), check_invariants=True)
    assert len(value) == 2 * n
    return adjacency
