"""Full ranking: the best k items of every user, with ties settled by a stated rule.

Equal scores rank by the lower item number, so that a list is a function of the scores alone and
never of the sorting routine, the machine or the order of the rows. Users are scored a chunk at a
time; the full user-by-item table never exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from negsieve.errors import NegsieveError, UsageError
from negsieve.scorers import Dot, Encoder
from negsieve.seen import Seen
from negsieve.types import Batch

CHUNK = 256
"""Users scored together. Part of a result's definition: float sums may differ between chunks."""

_NEVER = float("-inf")
_TIED_ROWS = 64  # rows whose boundary ties are settled together: bounds the slow path's memory


@dataclass(frozen=True, slots=True)
class TopK:
    """The best k items of n users, best first.

    item   ``Long[n, k]``; -1 where fewer than k items were eligible
    score  ``Float[n, k]``; -inf at those places
    """

    item: Tensor
    score: Tensor

    def __len__(self) -> int:
        return len(self.item)

    def to(self, device: str | torch.device) -> TopK:
        """The same lists on another device."""
        return TopK(self.item.to(device), self.score.to(device))


def top_k(
    encoder: Encoder,
    users: Tensor,
    k: int,
    *,
    n_items: int,
    mask: Sequence[Seen] = (),
    chunk: int = CHUNK,
    allowed: Tensor | None = None,
) -> TopK:
    """The best ``k`` of ``n_items`` items for each of ``users`` (``Long[n]``), on their device.

    mask     indexes whose pairs never appear: train, and for a test also valid
    chunk    users scored together
    allowed  ``Bool[I]``; False: the item never appears

    Equal scores rank by lower item number. An item that the model scores -inf never appears. Where
    fewer than k items are left, the list ends in item -1, score -inf.

    Raises UsageError for k < 1 or a scorer of another width, NegsieveError naming the user where a
    score is NaN. Cost: a full scoring and one partial sort a user; memory: chunk * I scores, twice
    where the scorer is not a ``Dot``.
    """
    if k < 1:
        raise UsageError(f"k={k}: a list needs at least one place")
    parts = [
        best(score, k, users=user)
        for user, score in scored(encoder, users, n_items=n_items, mask=mask, chunk=chunk, allowed=allowed)
    ]
    if not parts:
        return TopK(torch.empty((0, k), dtype=torch.long, device=users.device), users.new_empty((0, k)).float())
    item, score = (torch.cat([getattr(part, side) for part in parts]).to(users.device) for side in ("item", "score"))
    return TopK(item, score)


def scored(
    encoder: Encoder,
    users: Tensor,
    *,
    n_items: int,
    mask: Sequence[Seen] = (),
    chunk: int = CHUNK,
    allowed: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields ``(user [c], score [c, I])`` a chunk at a time; masked and forbidden items score -inf.

    The scores belong to the caller, who may overwrite them. Arguments as in ``top_k``.
    """
    if chunk < 1:
        raise UsageError(f"chunk={chunk}: at least one user must be scored at a time")
    for name, width in [("allowed", n_items if allowed is None else len(allowed))] + [
        ("mask", m.n_items) for m in mask
    ]:
        if width != n_items:
            raise UsageError(
                f"{name} knows {width} items, the ranking has {n_items}: they belong to different data sets"
            )
    for user in users.split(chunk):
        if not len(user):
            continue
        with torch.no_grad():
            score = every_score(encoder, user, n_items=n_items)
            for index in mask:
                row, item = index.of(user.to(index.offset.device))
                score[row.to(score.device), item.to(score.device)] = _NEVER
            if allowed is not None:
                score[:, ~allowed.to(score.device)] = _NEVER
        yield user, score


def every_score(encoder: Encoder, user: Tensor, *, n_items: int) -> Tensor:
    """Every item's score for ``user`` (``Long[c]``), ``Float[c, I]``, in memory of its own.

    Reads ``.all()`` where the scorer has it. A ``Dot`` computes its scores afresh; what another
    scorer returns may be shared or expanded and is copied. Half precision is widened.
    """
    scorer = encoder(Batch(user))
    if hasattr(scorer, "all"):
        score = scorer.all()
    else:
        score = scorer.score(torch.arange(n_items, device=user.device)[None])
    if tuple(score.shape) != (len(user), n_items):
        raise UsageError(
            f"the scorer rated {len(user)} users by {n_items} items as a tensor of shape {tuple(score.shape)}, "
            f"wanted ({len(user)}, {n_items}): was the model made for another data set?"
        )
    if score.dtype in (torch.float16, torch.bfloat16):
        return score.float()
    return score if isinstance(scorer, Dot) else score.clone(memory_format=torch.contiguous_format)


def best(score: Tensor, k: int, *, users: Tensor | None = None) -> TopK:
    """The best ``k`` of each row of ``score`` (``Float[n, I]``, -inf: never), ties by lower item number.

    ``users`` (``Long[n]``) names the rows in the error for a NaN. One more place than asked is
    sorted: only where it ties with the last place is the row looked at again, exactly.
    """
    n_items = score.shape[1]
    inside = min(k, n_items)
    value, item = score.topk(min(inside + 1, n_items), dim=1)  # a NaN counts as greatest, so it would show here
    _refuse_nan(value, users)
    if n_items > inside:
        tied = (value[:, inside - 1] == value[:, inside]) & (value[:, inside] > _NEVER)
        value, item = value[:, :inside].contiguous(), item[:, :inside].contiguous()
        for rows in tied.nonzero()[:, 0].split(_TIED_ROWS):
            item[rows] = _settle(score[rows], value[rows], item[rows])
    item, order = item.sort(dim=1)
    value, order = value.gather(1, order).sort(dim=1, descending=True, stable=True)
    item = item.gather(1, order).masked_fill(value == _NEVER, -1)
    if inside < k:
        item = torch.nn.functional.pad(item, (0, k - inside), value=-1)
        value = torch.nn.functional.pad(value, (0, k - inside), value=_NEVER)
    return TopK(item, value)


def _settle(score: Tensor, value: Tensor, item: Tensor) -> Tensor:
    """Replaces the items at the last, tied score by the lowest-numbered ones that have it.

    ``score [t, I]``, ``value`` and ``item [t, k]`` with value descending -> item ``[t, k]``.
    """
    last = value[:, -1:]  # [t, 1]
    free = value == last  # the places that the tied items share  # [t, k]
    row, candidate = (score == last).nonzero(as_tuple=True)  # rows ascend, items ascend inside a row
    count = torch.bincount(row, minlength=len(score))
    place = torch.arange(len(row), device=row.device) - torch.repeat_interleave(count.cumsum(0) - count, count)
    chosen = candidate[place < free.sum(1)[row]]  # as many a row as it has free places
    settled = item.clone()
    settled[free] = chosen
    return settled


def _refuse_nan(value: Tensor, users: Tensor | None) -> None:
    bad = value.isnan().any(1)
    if bool(bad.any()):
        row = int(bad.nonzero()[0, 0])
        who = row if users is None else int(users[row])
        raise NegsieveError(
            f"the scores of user number {who} hold NaN ({int(bad.sum())} such users in this chunk): they cannot be "
            "ranked. The model has diverged, or its table was not loaded; lower the learning rate or check the file"
        )
