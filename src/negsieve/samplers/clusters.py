"""Approximate softmax draws over a large catalogue: items in cells, cells drawn by the model's score of their centre.

A softmax over all items needs all scores. If the items of a cell are alike, one score a cell is nearly
as good: draw a cell by its weight times ``exp(score of the centre)``, then an item of the cell by its
weight. The law of the draws is then known exactly, whatever the quality of the cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from negsieve.errors import UsageError
from negsieve.samplers.base import Sampler
from negsieve.samplers.filter import refuse_leak
from negsieve.samplers.kmeans import k_means
from negsieve.schedule import checked
from negsieve.scorers import VectorScorer
from negsieve.seen import Seen
from negsieve.types import Batch, Negatives

_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Cells:
    """A batch's law over n cells: ``score Float[B, n]`` of the centres, ``total Float[B]`` log of the sum
    over items, ``seen Float[B]`` the share of the law that the row's user has."""

    score: Tensor
    total: Tensor
    seen: Tensor


class CellSoftmax(Sampler):
    """Draws j by ``q(j | u) ~ w_j exp(s(u, centre of j's cell) / temperature)``, K independent draws a row.

    n_items      I
    seen         what each user has: drawn now and then, and masked
    dim          D, the width of the model's vectors
    n_negatives  K
    clusters     C, clusters a codebook; at most I
    books        how many parts a vector is cut into, each with a codebook of its own; a cell is a
                 combination that occurs. 1: plain clusters; 2: the inverted multi-index, up to C^2 cells
    every        epochs between two clusterings, the first before epoch 0
    weight       ``Long[I]`` from ``powered``; None: all items alike
    temperature  of the softmax aimed at, a number or a schedule

    ``log_q`` is the exact law of what is kept, ``q(j | u)`` over the share of the row's unseen items, so
    it sums to 1 over those. Before the first refresh there is one cell, and the law is the weights'.

    Cost: n scores a row without gradient for n cells, and a look-up a pair of the batch's users; a
    refresh is ``rounds * I * C`` distances. Memory: 24 bytes an item, ``4 D + 8`` a cell.
    """

    needs = frozenset({"vectors"})
    advice = "Without vectors nothing can be clustered: uniform, popularity and shared need scores alone."
    elastic = ("centre", "edge_of_cell")

    def __init__(
        self,
        n_items: int,
        *,
        seen: Seen,
        dim: int,
        n_negatives: int = 64,
        clusters: int = 64,
        books: int = 1,
        every: int = 1,
        weight: Tensor | None = None,
        temperature: float | str = 1.0,
    ) -> None:
        super().__init__()
        refuse_leak(seen)
        if n_items != seen.n_items:
            raise UsageError(f"n_items={n_items} beside an index of {seen.n_items} items: wanted the same catalogue")
        if min(n_negatives, clusters, books, every) < 1 or books > dim:
            raise UsageError(
                f"n_negatives={n_negatives}, clusters={clusters}, books={books}, every={every} with vectors of {dim}: "
                "wanted 1 or more each, and no more books than dimensions"
            )
        self.seen, self.n_negatives = seen, n_negatives
        self.clusters, self.books, self.every = min(clusters, n_items), books, every
        self.temperature = checked("temperature", temperature, least=1e-12)
        weight = torch.ones(n_items, dtype=torch.long) if weight is None else weight
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("log_weight", weight.double().log(), persistent=False)
        self.register_buffer("cell", torch.zeros(n_items, dtype=torch.long))  # of each item
        self.register_buffer("order", torch.arange(n_items))  # items by cell
        self.register_buffer("edge", weight.cumsum(0))  # weight up to and with each item in that order
        self.register_buffer("edge_of_cell", self.edge[-1:].clone())  # [n]
        self.register_buffer("centre", torch.zeros(1, dim))  # [n, D]

    def refresh(self, epoch, view, rng):
        if epoch % self.every:
            return
        device = self.cell.device
        first = torch.zeros(1, dtype=torch.long, device=device)
        scorer = view(Batch(first, first))
        vector = scorer.vectors(torch.arange(len(self.cell), device=device)).detach().float()
        if not scorer.linear:
            vector = normalize(vector, dim=-1)
        code = torch.zeros_like(self.cell)
        centres = []
        for part in vector.tensor_split(self.books, dim=1):
            near, centre = k_means(part, self.clusters, rng)
            code = code * self.clusters + near
            centres.append(centre)
        code, self.cell = torch.unique(code, return_inverse=True)
        powers = [self.clusters**place for place in reversed(range(self.books))]
        self.centre = torch.cat(
            [centre[code // power % self.clusters] for centre, power in zip(centres, powers, strict=True)], dim=1
        )
        self.order = torch.argsort(self.cell, stable=True)
        self.edge = self.weight[self.order].cumsum(0)
        self.edge_of_cell = self.edge[torch.bincount(self.cell).cumsum(0) - 1]

    def sample(self, batch, scorer, rng):
        with torch.no_grad():
            cells = self._cells(batch, scorer)
            before, held = self._line()
            chance = (cells.score + held.double().log()).softmax(1).cumsum(1)  # [B, n]
            shape = (len(batch), self.n_negatives)
            lot = torch.rand(shape, generator=rng, device=chance.device, dtype=chance.dtype)
            cell = torch.searchsorted(chance, lot * chance[:, -1:], right=True).clamp_(max=len(held) - 1)
            unit = torch.randint(0, _LARGEST, shape, generator=rng, device=chance.device)
            place = before[cell] + unit.remainder_(held[cell].clamp_min(1))
            item = self.order[torch.searchsorted(self.edge, place, right=True).clamp_(max=len(self.order) - 1)]
            keep = ~self.seen.contains(batch.user, item)
            if batch.item is not None:
                keep &= item != batch.item[:, None]
            return Negatives(item, keep=keep, log_q=self._log_q(cells, item).float())

    def law(self, batch: Batch, item: Tensor, scorer: VectorScorer) -> Tensor:
        """``item Long[B|1, M]`` -> ``Float[B, M]``: the log-probability of each, ``-inf`` for what the user has."""
        with torch.no_grad():
            value = self._log_q(self._cells(batch, scorer), item.expand(len(batch), -1))
            return value.masked_fill(self.seen.contains(batch.user, item), -torch.inf)

    def _line(self) -> tuple[Tensor, Tensor]:
        """The weight before each cell and inside it, ``Long[n]`` both."""
        held = self.edge_of_cell.diff(prepend=self.edge_of_cell.new_zeros(1))
        return self.edge_of_cell - held, held

    def _cells(self, batch: Batch, scorer: VectorScorer) -> Cells:
        centre = self.centre.to(scorer.query.dtype)[None]
        score = scorer.score_vectors(centre).double() / self.temperature.value  # [B, n]
        total = torch.logsumexp(score + self._line()[1].double().log(), dim=1)  # [B]
        row, held = self.seen.of(batch.user)
        own = (score[row, self.cell[held]] + self.log_weight[held] - total[row]).exp()
        return Cells(score, total, torch.segment_reduce(own, "sum", lengths=self.seen.degree(batch.user), initial=0.0))

    def _log_q(self, cells: Cells, item: Tensor) -> Tensor:
        """``item Long[B, M]`` -> the law of the unseen."""
        left = (1 - cells.seen).clamp_min(1e-13).log()[:, None]  # [B, 1]
        return cells.score.gather(1, self.cell[item]) + self.log_weight[item] - cells.total[:, None] - left
