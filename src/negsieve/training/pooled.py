"""The pooled rows of a graph model, made when they are first asked for.

A step of LightGCN reads the embeddings of its batch and of what its sampler rates, and no others. The layers
below the last are made for all nodes; the last one, and the mean of all, for the rows that somebody reads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.kernels.graph import begin_states, collect, new_states, pool_rows, propagate
from negsieve.models.lightgcn import LightGCN


class Pooled:
    """Layers and pooled rows of a model as it stands.

    states  ``[H, N, P]`` of ``dtype``, scaled layers 0 .. H - 1 of users, then items
    table   ``Float[N, D]``; a row is right from the time that ``ensure`` was given it to the next ``advance``

    Memory: ``H`` states and one table.
    """

    def __init__(self, model: LightGCN, *, dtype: torch.dtype = torch.float32) -> None:
        self.graph, self.start, self.n_users = model.graph, (model.user, model.item), model.n_users
        self.states = new_states(self.graph, model.dim, hops=model.hops, dtype=dtype)
        self.table = torch.zeros(len(self.graph), model.dim, device=model.user.device)
        self._ready = Slots(len(self.graph), model.user.device)
        self._seen: tuple | None = None

    def advance(self) -> None:
        """Makes the layers below the last for the parameters as they are, and forgets the pooled rows."""
        if self._seen != self._version():
            begin_states(self.graph, self.start, self.states)
            self._seen = self._version()
        propagate(self.graph, self.states)
        self._ready.clear()

    def moved(self, *, begun: bool) -> None:
        """Says that an optimiser wrote the parameters, and whether it wrote ``states[0]`` with them."""
        self._seen = self._version() if begun else None

    def ensure(self, node: Tensor | None) -> None:
        """Makes the pooled rows of ``node Long[n]``, None for all, that are not there yet."""
        node = torch.arange(len(self.graph), device=self.table.device) if node is None else node
        fresh = self._ready.add(node)
        if len(fresh):
            pool_rows(self.graph, self.start, self.states, fresh, self.table)

    def ensure_items(self, item: Tensor | None) -> None:
        """As ``ensure``, of items."""
        every = self.table.shape[0] - self.n_users
        item = torch.arange(every, device=self.table.device) if item is None else item
        self.ensure(item + self.n_users)

    def _version(self) -> tuple:
        """Changes when anybody writes the parameters in place, or puts others in their stead."""
        return tuple((one.data_ptr(), one._version) for one in self.start)


class Slots:
    """A set of nodes, each with a place of its own: ``slot Int[N]`` is -1 for the others, ``rows`` their nodes."""

    def __init__(self, nodes: int, device: torch.device) -> None:
        self.slot = torch.full((nodes,), -1, dtype=torch.int32, device=device)
        self._rows = torch.zeros(nodes, dtype=torch.int32, device=device)
        self.count = 0

    @property
    def rows(self) -> Tensor:
        return self._rows[: self.count]

    def add(self, node: Tensor) -> Tensor:
        """Takes ``node Long[n]`` in; returns those that are new, ``Int[m]``, ascending."""
        before = self.count
        self.count = collect(node, self.slot, self._rows, before)
        return self._rows[before : self.count]

    def clear(self) -> None:
        self.slot.index_fill_(0, self.rows.long(), -1)
        self.count = 0
