"""The lines every table should show: popularity, item-item neighbours, and EASE in closed form.

None is trained by steps. A sampler that does not lift a model above them has not shown much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from negsieve.data.dataset import Dataset
from negsieve.errors import UsageError
from negsieve.evaluation.fallback import Popular
from negsieve.evaluation.rank import best
from negsieve.scorers import Dot
from negsieve.seen import Seen
from negsieve.types import Batch

if TYPE_CHECKING:
    import scipy.sparse as sp

_BLOCK_BYTES = 64 * 2**20
EASE_ITEMS = 8000
"""Beyond so many items EASE takes gigabytes and minutes, and is left out of tables."""


def popularity(dataset: Dataset, *, count: str = "users") -> Popular:
    """An encoder that ranks items by their number of train users, the same for everyone.

    count  "users", or "rows", which differ where train repeats pairs. UsageError for another word
    """
    if count not in ("users", "rows"):
        raise UsageError(f"popularity with count={count!r}: wanted 'users' or 'rows'")
    if count == "users":
        return Popular(dataset.train.popularity())
    return Popular(torch.bincount(dataset.pairs("train")[1], minlength=dataset.n_items))


def item_knn(dataset: Dataset, *, k: int = 100, shrink: float = 0.0) -> ItemKNN:
    """An encoder of cosine item-item neighbours on train (Sarwar et al., WWW 2001).

    ``similarity(i, j) = c_ij / (sqrt(c_i c_j) + shrink)`` with c the numbers of users; each item keeps its
    ``k`` most similar others, ties by lower item number; ``score(u, i)`` sums the similarities of i to
    those of its neighbours that u has in train.

    Cost: the sum of squared user degrees, and I^2 reads in blocks of 64 MiB; memory: one block and
    12 * k * I bytes. Raises UsageError for k < 1 or a negative shrink.
    """
    if k < 1 or not shrink >= 0:
        raise UsageError(f"item_knn with k={k}, shrink={shrink}: wanted k >= 1 and shrink >= 0")
    history = _matrix(dataset.train)  # [U, I]
    return ItemKNN(history, _neighbours(history, k, shrink))


def ease(dataset: Dataset, *, l2: float = 200.0) -> Ease:
    """An encoder of the closed-form linear autoencoder (Steck, WWW 2019).

    With ``P = (X^T X + l2 I)^-1`` on train, ``W = I - P / diag(P)`` and ``score(u, i) = (X W)_ui``: the ridge
    regression of every item on all others, its own weight held at 0.

    Cost: one inverse of ``[I, I]`` in double precision, about 2 I^3 operations; memory 20 I^2 bytes. Raises
    UsageError for l2 <= 0 and for more than ``EASE_ITEMS`` items.
    """
    if not l2 > 0 or dataset.n_items > EASE_ITEMS:
        raise UsageError(
            f"ease with l2={l2} on {dataset.n_items} items: wanted l2 above 0 and up to {EASE_ITEMS} items"
        )
    history = _matrix(dataset.train)
    gram = torch.from_numpy((history.T @ history).toarray()).double()
    gram.diagonal().add_(l2)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    weight = inverse / -inverse.diagonal()  # [I, I], column i predicts item i
    weight.diagonal().zero_()
    return Ease(history, weight.float())


class Ease:
    """The encoder that ``ease`` makes: ``history`` sparse ``[U, I]``, ``weight Float[I, I]``. Works on the CPU."""

    def __init__(self, history: sp.csr_matrix, weight: Tensor) -> None:
        self.history, self.weight = history, weight

    def __call__(self, batch: Batch) -> Dot:
        # history is the query and the weights are the item vectors: a dot product like any other
        query = torch.from_numpy(self.history[batch.user.cpu().numpy()].toarray())
        return Dot(query.to(batch.user.device), self.weight.T.to(batch.user.device))


class ItemKNN:
    """The encoder that ``item_knn`` makes. Works on the CPU and answers on the batch's device.

    history     sparse ``[U, I]``: 1 where the user has the item in train
    similarity  sparse ``[I, I]``: row j, column i holds the similarity of i's neighbour j
    """

    def __init__(self, history: sp.csr_matrix, similarity: sp.csr_matrix) -> None:
        self.history, self.similarity = history, similarity

    def __call__(self, batch: Batch) -> Sums:
        rows = self.history[batch.user.cpu().numpy()]
        return Sums((rows @ self.similarity).tocsr(), device=batch.user.device)


class Sums:
    """A scorer over sparse scores ``[B, I]``; what is not stored scores 0."""

    def __init__(self, scores: sp.csr_matrix, *, device: torch.device) -> None:
        self._scores, self._device = scores, device

    def score(self, item: Tensor) -> Tensor:
        """``Long[B|1, M]`` -> ``Float[B, M]``."""
        return self.all().gather(1, item.to(self._device).expand(self._scores.shape[0], -1))

    def all(self) -> Tensor:
        """``Float[B, I]``, afresh at each call."""
        return torch.from_numpy(self._scores.toarray()).to(self._device)


def _matrix(seen: Seen) -> sp.csr_matrix:
    import scipy.sparse as sp

    ones = np.ones(len(seen), dtype=np.float32)
    return sp.csr_matrix((ones, seen.item.cpu().numpy(), seen.offset.cpu().numpy()), shape=(seen.n_users, seen.n_items))


def _neighbours(history: sp.csr_matrix, k: int, shrink: float) -> sp.csr_matrix:
    """Each item's k nearest others as a column of a sparse ``[I, I]`` matrix."""
    import scipy.sparse as sp

    n_items = history.shape[1]
    by_item = history.T.tocsr()  # [I, U]
    norm = np.sqrt(np.diff(by_item.indptr))
    block = max(1, _BLOCK_BYTES // (4 * max(n_items, 1)))
    near, item, value = [], [], []
    for start in range(0, n_items, block):
        stop = min(start + block, n_items)
        common = (by_item[start:stop] @ history).tocoo()  # [b, I]; not stored: no user in common, no neighbour
        own = common.row + start
        cosine = np.full((stop - start, n_items), -np.inf, dtype=np.float32)
        cosine[common.row, common.col] = common.data / (norm[own] * norm[common.col] + shrink)
        cosine[np.arange(stop - start), np.arange(start, stop)] = -np.inf
        top = best(torch.from_numpy(cosine), k)
        row, place = (top.item >= 0).numpy().nonzero()
        near.append(top.item.numpy()[row, place])
        item.append(row + start)
        value.append(top.score.numpy()[row, place])
    if not near:
        return sp.csr_matrix((n_items, n_items), dtype=np.float32)
    data = np.concatenate(value).astype(np.float32)
    return sp.csr_matrix((data, (np.concatenate(near), np.concatenate(item))), shape=(n_items, n_items))
