"""Products with the normalised adjacency of an undirected graph, and the layers of LightGCN made of them.

``D^-1/2 A D^-1/2`` has no values of its own: with *states* ``s = D^-1/2 x`` a product is a plain sum of
neighbours' rows, so the kernels read an index an edge and nothing else. States are float32 or bfloat16
(sums are float32 either way), padded with zeros to a width that is a multiple of 16.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from negsieve.kernels import native

LANES = 16
Pair = tuple[Tensor, Tensor]  # the rows of users [U, D] and of items [I, D], together the N nodes


class Graph:
    """What the kernels read of a normalised adjacency ``[N, N]``, a symmetric sparse CSR tensor; never changed.

    offset     ``Long[N + 1]``
    neighbour  ``Int[n]``
    scale      ``Float[N]``, ``degree^-1/2``; 0 where there is no neighbour

    Memory beside the adjacency: 12 bytes a node.
    """

    def __init__(self, adjacency: Tensor) -> None:
        self.adjacency = adjacency
        self.offset = adjacency.crow_indices().long()
        self.neighbour = adjacency.col_indices().int()
        degree = (self.offset[1:] - self.offset[:-1]).double()
        self.scale = torch.where(degree > 0, degree.clamp_min(1).rsqrt(), 0.0).float()
        self._compiled: Any = None

    def __len__(self) -> int:
        return len(self.scale)

    def __deepcopy__(self, memo) -> Graph:
        return self

    def __reduce__(self):
        return Graph, (self.adjacency,)

    @property
    def compiled(self) -> Any:
        """The graph as the compiled kernels hold it; they check it once, here."""
        if self._compiled is None:
            self._compiled = native.module().Graph(self.offset, self.neighbour, self.scale)
        return self._compiled

    @property
    def back(self) -> Tensor:
        """``degree^1/2``, 0 where there is no neighbour: from a state to what it stands for."""
        return torch.where(self.scale > 0, 1 / self.scale, 0.0)


def multiply(graph: Graph, x: Tensor) -> Tensor:
    """``D^-1/2 A D^-1/2 x``: ``Float[N, D]`` -> ``Float[N, D]``. Cost: a row read an edge, two passes over x."""
    if not native.serves(x) or x.dtype != torch.float32:
        return multiply_reference(graph, x)
    x = x.detach().contiguous()
    y, scratch = torch.empty_like(x), x.new_empty(len(x), padded(x.shape[1]))
    native.module().multiply(graph.compiled, x, y, scratch, native.threads())
    return y


def multiply_reference(graph: Graph, x: Tensor) -> Tensor:
    """``multiply`` in torch."""
    return graph.adjacency @ x


def padded(width: int) -> int:
    """The width of a state: the next multiple of 16."""
    return -(-width // LANES) * LANES


def new_states(graph: Graph, width: int, *, hops: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Room for states 0 .. H - 1 of layers ``width`` wide: ``[H, N, padded]``; layer H is never kept whole."""
    return torch.zeros(hops, len(graph), padded(width), dtype=dtype, device=graph.scale.device)


def begin_states(graph: Graph, start: Pair, states: Tensor) -> None:
    """Writes ``states[0] = D^-1/2 E_0``. Cost: one pass."""
    if not native.serves(states):
        return begin_states_reference(graph, start, states)
    native.module().begin_states(graph.compiled, *_plain(*start), _bits(states), native.threads())


def begin_states_reference(graph: Graph, start: Pair, states: Tensor) -> None:
    """``begin_states`` in torch."""
    if len(states):
        states[0].zero_()
        states[0, :, : start[0].shape[1]] = graph.scale[:, None] * torch.cat(start).detach()


def propagate(graph: Graph, states: Tensor) -> None:
    """Writes ``states[h + 1] = D^-1 A states[h]`` from ``states[0]`` on. Cost: H - 1 products."""
    if not native.serves(states):
        return propagate_reference(graph, states)
    native.module().propagate(graph.compiled, _bits(states), native.threads())


def propagate_reference(graph: Graph, states: Tensor) -> None:
    """``propagate`` in torch."""
    for hop in range(1, len(states)):
        states[hop] = graph.scale[:, None] ** 2 * neighbour_sums(graph, states[hop - 1])


def neighbour_sums(graph: Graph, state: Tensor) -> Tensor:
    """``A state`` in torch, ``[N, P]`` -> ``Float[N, P]``."""
    back = graph.back[:, None]
    return back * (graph.adjacency @ (back * state.float()))


def pool_rows(graph: Graph, start: Pair, states: Tensor, rows: Tensor, pooled: Tensor) -> None:
    """Writes ``pooled[r] = (E_0 + .. + E_H)[r] / (H + 1)`` for ``rows Int[n]`` of ``pooled Float[N, D]``.

    Layer H is made for these rows alone: cost a row read an edge of theirs, and H of their own.
    Raises ValueError for a row that is no node.
    """
    if not native.serves(states):
        return pool_rows_reference(graph, start, states, rows, pooled)
    native.module().pool_rows(graph.compiled, *_plain(*start), _bits(states), rows, pooled, native.threads())


def pool_rows_reference(graph: Graph, start: Pair, states: Tensor, rows: Tensor, pooled: Tensor) -> None:
    """``pool_rows`` in torch, which makes layer H for all."""
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(graph):
        raise ValueError("pool_rows: a row is no node")
    first = torch.cat(start).detach()
    layers = [first]
    layers += [graph.back[:, None] * one[:, : first.shape[1]].float() for one in states[1:]]
    if len(states):
        layers.append(graph.scale[:, None] * neighbour_sums(graph, states[-1])[:, : first.shape[1]])
    pooled[rows.long()] = (sum(layers) / len(layers))[rows.long()]


def collect(nodes: Tensor, slot: Tensor, rows: Tensor, count: int = 0) -> int:
    """Gives the distinct ``nodes Long[M]`` without a slot the slots ``count, ..``, ascending; returns the new count.

    slot  ``Int[N]``, -1 without one; written
    rows  ``Int[N]``, the node of each slot; written from ``count`` on

    Cost: two passes over the nodes, and N bits. Raises ValueError for an id that is no node.
    """
    if not native.serves(nodes):
        return collect_reference(nodes, slot, rows, count)
    return native.module().collect(nodes.contiguous(), slot, rows, count)


def collect_reference(nodes: Tensor, slot: Tensor, rows: Tensor, count: int = 0) -> int:
    """``collect`` in torch."""
    distinct = torch.unique(nodes)
    if len(distinct) and not (int(distinct[0]) >= 0 and int(distinct[-1]) < len(slot)):
        raise ValueError("collect: an id is no node")
    fresh = distinct[slot[distinct] < 0]
    rows[count : count + len(fresh)] = fresh.int()
    slot[fresh] = torch.arange(count, count + len(fresh), dtype=torch.int32, device=slot.device)
    return count + len(fresh)


def _plain(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Without gradient, for the kernels."""
    return tuple(one.detach() for one in tensors)


def _bits(state: Tensor) -> Tensor:
    """bfloat16 as the 16-bit integers by which the kernels know it."""
    return state.view(torch.int16) if state.dtype == torch.bfloat16 else state
