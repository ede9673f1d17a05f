"""What a frozen model thinks of all users before an epoch, asked a chunk of users at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from negsieve.scorers import Encoder, Scorer
from negsieve.types import Batch

_TOGETHER = 128  # users asked about together: their scores of 240,000 items take 120 MB


class PriorStates(nn.Module):
    """The questions that show every user's state before an epoch.

    n_users   U
    last_row  ``Long[U]``, each user's last train row, -1 for none: a sequence model answers with the state that
              predicts that row's item, and users without a row are not asked about. None: the state after all that
              each user did. A model without sequences answers alike
    """

    def __init__(self, n_users: int, last_row: Tensor | None = None) -> None:
        super().__init__()
        known = torch.arange(n_users) if last_row is None else (last_row >= 0).nonzero().flatten()
        self.n_users, self.by_row = n_users, last_row is not None
        self.register_buffer("user", known, persistent=False)
        self.register_buffer("row", known if last_row is None else last_row[known], persistent=False)

    def batches(self) -> Iterator[Batch]:
        """The users in order, a chunk at a time."""
        if not len(self.user):
            return
        for user, row in zip(self.user.split(_TOGETHER), self.row.split(_TOGETHER), strict=True):
            yield Batch(user, None, row if self.by_row else None)


class Remembered:
    """An encoder that answers from memory what it has been asked before: several parts ask the same of all users.

    Memory: the answers, for as long as it lives.
    """

    def __init__(self, view: Encoder) -> None:
        self._view, self._known = view, {}

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Scorer:
        for asked, answer in self._known.get(self._key(batch), ()):
            if _same(asked.user, batch.user) and _same(asked.row, batch.row):
                return answer
        answer = self._view(batch)
        if batch.item is None and batch.history is None:
            self._known.setdefault(self._key(batch), []).append((batch, answer))
        return answer

    def _key(self, batch: Batch) -> tuple[int, int]:
        return len(batch), int(batch.user[0]) if len(batch) else -1


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))


def due(built: Tensor, epoch: int, every: int) -> bool:
    """Whether what was ``built`` (``Long[]``, -1 for never) is to be made anew: never twice for one epoch."""
    last = int(built)
    return last < 0 or last > epoch or epoch - last >= every
