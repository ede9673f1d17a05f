"""Who did what, in order: the sequences that a sequence model reads, and the windows that it trains on.

A target position is a row of the training table. The items before it are its history; nobody stores
them a row, because a user's rows are one sequence and a window of it gives the histories of all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from negsieve.types import Groups


class Histories(nn.Module):
    """The items of every user from first to last.

    user, item  ``Long[n]``, the rows of a table
    when        ``[n]``; rows stand in this order, those of equal value as in the table; none: all as in the table
    order       what ``when`` is: "time", or "given" for the table's own order
    part        which part of the data the rows are; only "train" may be trained on

    Raises ValueError for sides that do not line up or users that do not exist.

    Memory: 24 bytes a row and 8 a user. Buffers move with ``.to()`` and stay out of checkpoints, because the
    data hash already fixes them. Cost: two sorts of the table.
    """

    def __init__(
        self,
        user: Tensor,
        item: Tensor,
        *,
        when: Tensor | None = None,
        n_users: int,
        order: str = "given",
        part: str = "train",
    ) -> None:
        super().__init__()
        if len(user) != len(item):
            raise ValueError(f"{len(user)} users beside {len(item)} items: the rows must line up")
        if len(user) and not 0 <= int(user.min()) <= int(user.max()) < n_users:
            raise ValueError(f"user ids run {int(user.min())}..{int(user.max())}, wanted 0..{n_users - 1}")
        self.n_users, self.order, self.part = n_users, order, part
        row = torch.arange(len(user)) if when is None else when.sort(stable=True).indices
        row = row[user[row].sort(stable=True).indices]
        place = torch.empty_like(row)
        place[row] = torch.arange(len(row))
        offset = torch.zeros(n_users + 1, dtype=torch.long)
        offset[1:] = torch.bincount(user, minlength=n_users).cumsum(0)
        for name, value in (("item", item[row]), ("row", row), ("place", place), ("offset", offset)):
            self.register_buffer(name, value, persistent=False)

    def __len__(self) -> int:
        return len(self.item)

    def latest(self, user: Tensor, length: int, *, last: Tensor | None = None) -> Tensor:
        """The last ``length`` items of some users: ``Long[B]`` -> ``Long[B, length]``, oldest first, then -1.

        last  ``Long[B]``; a place of the user's in ``item`` after which nothing counts, -1: nothing at all counts
        """
        end = self.offset[user + 1] if last is None else torch.where(last < 0, self.offset[user], last + 1)
        first = torch.maximum(self.offset[user], end - length)
        place = first[:, None] + torch.arange(length, device=user.device)  # [B, length]
        if not len(self):
            return torch.full_like(place, -1)
        return self.item[place.clamp_max(len(self) - 1)].masked_fill_(place >= end[:, None], -1)


class Aside(nn.Module):
    """What users did in source domains, beside the rows of a target domain.

    source   the source rows that may be known, items numbered 0 to ``n_items - 1`` in a numbering of their own
    before   ``Long[n]``, one a target row, counted as ``Batch.row`` counts: the place in ``source.item`` of the last
             source row before it in the user's merged order; -1 where none is
    last     ``Long[U]``: such a place for what is judged of the user; where nothing is, of the last source row
    n_items  items of all source domains together

    Raises ValueError for places that do not exist. Memory: 8 bytes a target row and a user beside ``source``.
    Buffers move with ``.to()`` and stay out of checkpoints, because the data hash already fixes them.
    """

    def __init__(self, source: Histories, *, before: Tensor, last: Tensor, n_items: int) -> None:
        super().__init__()
        for name, place in (("before", before), ("last", last)):
            if len(place) and not -1 <= int(place.min()) <= int(place.max()) < len(source):
                raise ValueError(
                    f"{name} names places {int(place.min())}..{int(place.max())}, wanted -1..{len(source) - 1}"
                )
        if len(last) != source.n_users:
            raise ValueError(f"last has {len(last)} users, wanted the {source.n_users} of the source rows")
        self.source, self.n_items = source, n_items
        self.register_buffer("before", before, persistent=False)
        self.register_buffer("last", last, persistent=False)

    def latest(self, user: Tensor) -> Tensor:
        """The last source row before what is judged of some users: ``Long[B]`` -> ``Long[B]``, -1 for none."""
        return self.last[user]


class Windows(nn.Module):
    """The stretches of at most ``length`` inputs that cover every target position of every user, each once.

    A user with m rows has m - 1 targets: each row but the first, whose input is the row before it. Longer
    sequences are cut from their end, so that the last window, like a history at evaluation, ends with the last
    row. ``overlap`` inputs of a window are history only: their targets belong to the window before, and so
    every target beyond the first window sees more than ``overlap`` items. ``last_only``: the last window
    alone, and all of its targets, as the authors of SASRec train.

    first  ``Long[W]``; place in ``histories.item`` of a window's first input
    many   ``Long[W]``; its inputs
    of     ``Long[n]``; the window in which a place is a target, -1 for none

    Cost and memory: 16 bytes a window and 8 a row.
    """

    def __init__(self, histories: Histories, length: int, *, overlap: int = 0, last_only: bool = False) -> None:
        super().__init__()
        start, inputs = histories.offset[:-1], (histories.offset.diff() - 1).clamp_min(0)  # [U]
        user, begin, end, fresh = _stretches(inputs, length, overlap=overlap, last_only=last_only)
        place, offset = _places(start[user] + fresh + 1, end - fresh)  # of every target, window after window
        self.register_buffer("first", start[user] + begin, persistent=False)
        self.register_buffer("many", end - begin, persistent=False)
        self.register_buffer("of", _inverse(place, offset, len(histories)), persistent=False)
        self.groups = Groups(histories.row[place], offset)

    def __len__(self) -> int:
        return len(self.first)


class Stretches(nn.Module):
    """The stretches of at most ``length`` rows that cover every row of every user, for states after each row.

    As ``Windows`` cut a sequence, but the last row is read too: what follows it stands in another domain. A row
    beyond a user's first stretch sees the rows of its stretch up to itself, more than ``overlap`` of them.

    first  ``Long[W]``; place in ``histories.item`` of a stretch's first row
    many   ``Long[W]``; its rows
    of     ``Long[n]``; the stretch in which the state after a place is read

    Cost and memory: 16 bytes a stretch and 8 a row.
    """

    def __init__(self, histories: Histories, length: int, *, overlap: int = 0) -> None:
        super().__init__()
        start = histories.offset[:-1]
        user, begin, end, fresh = _stretches(histories.offset.diff(), length, overlap=overlap)
        place, offset = _places(start[user] + fresh, end - fresh)
        self.register_buffer("first", start[user] + begin, persistent=False)
        self.register_buffer("many", end - begin, persistent=False)
        self.register_buffer("of", _inverse(place, offset, len(histories)), persistent=False)

    def __len__(self) -> int:
        return len(self.first)


def _stretches(
    inputs: Tensor, length: int, *, overlap: int, last_only: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cuts sequences of ``inputs Long[U]`` from their ends: four ``Long[W]``, counted from a user's first input.

    user, begin, end  whose stretch it is, and its inputs ``begin .. end - 1``
    fresh             the first input whose state belongs to this stretch and not to the one before
    """
    stride = length - overlap
    beyond = (inputs - length).clamp_min(0)
    count = (inputs > 0) * (1 if last_only else 1 + torch.div(beyond + stride - 1, stride, rounding_mode="floor"))
    user = torch.repeat_interleave(torch.arange(len(inputs)), count)  # [W]
    back = torch.repeat_interleave(count.cumsum(0), count) - 1 - torch.arange(len(user))  # 0: the last stretch
    end = inputs[user] - back * stride
    begin = (end - length).clamp_min(0)
    earliest = back == count[user] - 1  # no stretch before it has its first inputs
    return user, begin, end, torch.where(earliest, begin, end - stride)


def _places(first: Tensor, many: Tensor) -> tuple[Tensor, Tensor]:
    """``first + 0, .., first + many - 1`` of each, end to end, and where each begins: ``Long[n]``, ``Long[W + 1]``."""
    offset = torch.zeros(len(first) + 1, dtype=torch.long)
    offset[1:] = many.cumsum(0)
    jump = torch.repeat_interleave(first - offset[:-1], many)
    return jump + torch.arange(len(jump)), offset


def _inverse(place: Tensor, offset: Tensor, n: int) -> Tensor:
    """The stretch that a place of ``0 .. n - 1`` belongs to, -1 for none: ``Long[n]``."""
    of = torch.full((n,), -1)
    of[place] = torch.repeat_interleave(torch.arange(len(offset) - 1), offset.diff())
    return of
