"""Full ranking: the best k items of every user, with ties settled by a stated rule.

Equal scores rank by the lower item number, so that a list is a function of the scores alone and
never of the sorting routine, the machine or the order of the rows. Users are scored a chunk at a
time; the full user-by-item table never exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from negsieve.errors import NegsieveError, UsageError
from negsieve.kernels import rank
from negsieve.scorers import Dot, Encoder, Scorer
from negsieve.seen import Seen
from negsieve.types import Batch

CHUNK = 256
"""Users scored together. Part of a result's definition where torch makes the scores, whose last bits may then
depend on it; the compiled ranking of a ``Dot`` does not."""

_NEVER = float("-inf")
_TOGETHER = 16  # chunks whose excluded items are sought together


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
    fewer than k items are left, the list ends in item -1, score -inf. A single-precision ``Dot`` on the CPU is
    ranked by a compiled kernel, whose scores depend on the two vectors alone; else on the chunk too, in
    their last bits. Threads change nothing in the first case.

    Raises UsageError for k < 1 or a scorer of another width, NegsieveError naming the user where a
    score is NaN. Cost: a full scoring and one partial sort a user. Memory: the lists; a copy of the items' table
    where the kernel serves, else chunk * I scores, twice where the scorer is not a ``Dot``.
    """
    if k < 1:
        raise UsageError(f"k={k}: a list needs at least one place")
    everyone = torch.arange(len(users), device=users.device)
    parts = encoder.divide(users) if isinstance(encoder, Divided) else [(encoder, everyone)]
    item = torch.full((len(users), k), -1, dtype=torch.long, device=users.device)
    score = torch.full((len(users), k), _NEVER, device=users.device)
    done = 0
    for own, place in parts:
        for user, top in lists(own, users[place], k, n_items=n_items, mask=mask, chunk=chunk, allowed=allowed):
            rows = slice(done, done + len(user))
            score = score.to(torch.promote_types(score.dtype, top.score.dtype))
            item[rows], score[rows] = top.item, top.score
            done += len(user)
    order = torch.cat([place for _, place in parts])  # who stands in each row
    if bool((order != everyone).any()):
        row = order.argsort()
        item, score = item[row], score[row]
    return TopK(item, score)


def lists(
    encoder: Encoder,
    users: Tensor,
    k: int,
    *,
    n_items: int,
    mask: Sequence[Seen] = (),
    chunk: int = CHUNK,
    allowed: Tensor | None = None,
) -> Iterator[tuple[Tensor, TopK]]:
    """Yields ``(user [c], their TopK)`` a chunk at a time: ``top_k`` without room for the lists of all users."""
    _check(n_items, mask=mask, chunk=chunk, allowed=allowed)
    table, excluded = _Table(allowed), _Excluded(mask, users, n_items, together=_TOGETHER * chunk)
    for first in range(0, len(users), chunk):
        user = users[first : first + chunk]
        with torch.no_grad():
            scorer = encoder(Batch(user))
            catalogue = table.laid_out(scorer)
            if catalogue is None:
                score = _masked(every_score(scorer, user, n_items=n_items), user, mask, allowed)
                yield user, best(score, k, users=user)
                continue
            _check_shape((len(scorer.query), len(scorer.table)), len(user), n_items)
            offset, out = excluded.of(first, first + len(user))
            item, score, broken = rank.top_dots(scorer.query_side, catalogue, k, offset=offset, excluded=out)
        _refuse_broken(broken, user)
        yield user, TopK(item, score)


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
    _check(n_items, mask=mask, chunk=chunk, allowed=allowed)
    for user in users.split(chunk):
        if not len(user):
            continue
        with torch.no_grad():
            score = _masked(every_score(encoder(Batch(user)), user, n_items=n_items), user, mask, allowed)
        yield user, score
        del score  # before the next are made


def every_score(scorer: Scorer, user: Tensor, *, n_items: int) -> Tensor:
    """Every item's score for ``user`` (``Long[c]``), ``Float[c, I]``, in memory of its own.

    Reads ``.all()`` where the scorer has it. A ``Dot`` computes its scores afresh; what another
    scorer returns may be shared or expanded and is copied. Half precision is widened.
    """
    if hasattr(scorer, "all"):
        score = scorer.all()
    else:
        score = scorer.score(torch.arange(n_items, device=user.device)[None])
    _check_shape(tuple(score.shape), len(user), n_items)
    if score.dtype in (torch.float16, torch.bfloat16):
        return score.float()
    return score if isinstance(scorer, Dot) else score.clone(memory_format=torch.contiguous_format)


def best(score: Tensor, k: int, *, users: Tensor | None = None) -> TopK:
    """The best ``k`` of each row of ``score`` (``Float[n, I]``, -inf: never), ties by lower item number.

    ``users`` (``Long[n]``) names the rows in the error for a NaN.
    """
    item, value, broken = rank.top_rows(score, k)
    _refuse_broken(broken, users)
    return TopK(item, value)


@runtime_checkable
class Divided(Protocol):
    """An encoder that leaves some users to others."""

    def divide(self, users: Tensor) -> list[tuple[Encoder, Tensor]]:
        """Who serves which places of ``users Long[n]``: each place once."""
        ...


class _Table:
    """The table that the last scorer showed, laid out for ranking: chunks that share one pay for one."""

    def __init__(self, allowed: Tensor | None) -> None:
        self._allowed = allowed
        self._key: tuple | None = None
        self._catalogue: rank.Catalogue | None = None

    def laid_out(self, scorer: Scorer) -> rank.Catalogue | None:
        """None where the compiled ranking does not serve this scorer."""
        if type(scorer) is not Dot or not rank.serves(scorer.query, scorer.table):
            return None
        table = scorer.table
        key = (table, scorer.cosine, None if table.is_inference() else table._version)
        if self._key is None or self._key[0] is not table or self._key[1:] != key[1:]:
            self._key, self._catalogue = key, rank.lay_out(scorer.item_side(), allowed=self._allowed)
        return self._catalogue


class _Excluded:
    """What users may not be shown, sought for many of them at a time: small steps keep torch's threads waiting."""

    def __init__(self, mask: Sequence[Seen], users: Tensor, n_items: int, *, together: int) -> None:
        self._mask, self._users, self._n_items, self._together = mask, users, n_items, together
        self._first = -1
        self._offset = self._item = torch.empty(0, dtype=torch.long)

    def of(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """``offset Long[c + 1]`` and items of ``users[first:last]``, who lie in one step, on the CPU."""
        begin = first - first % self._together
        if begin != self._first:
            self._first = begin
            self._offset, self._item = self._seek(self._users[begin : begin + self._together])
        offset = self._offset[first - begin : last - begin + 1]
        return offset - offset[0], self._item[int(offset[0]) : int(offset[-1])]

    def _seek(self, user: Tensor) -> tuple[Tensor, Tensor]:
        pairs = [[side.cpu() for side in index.of(user.to(index.offset.device))] for index in self._mask]
        row, item = (torch.cat([pair[side] for pair in pairs] or [torch.empty(0)]).long() for side in (0, 1))
        if len(self._mask) > 1:
            key = (row * self._n_items + item).sort().values
            row, item = key // self._n_items, key % self._n_items
        offset = torch.zeros(len(user) + 1, dtype=torch.long)
        offset[1:] = torch.bincount(row, minlength=len(user)).cumsum(0)
        return offset, item


def _masked(score: Tensor, user: Tensor, mask: Sequence[Seen], allowed: Tensor | None) -> Tensor:
    """``score [c, I]`` itself, with -inf where nothing may be shown."""
    for index in mask:
        row, item = index.of(user.to(index.offset.device))
        score[row.to(score.device), item.to(score.device)] = _NEVER
    if allowed is not None:
        score[:, ~allowed.to(score.device)] = _NEVER
    return score


def _check(n_items: int, *, mask: Sequence[Seen], chunk: int, allowed: Tensor | None) -> None:
    if chunk < 1:
        raise UsageError(f"chunk={chunk}: at least one user must be scored at a time")
    for name, width in [("allowed", n_items if allowed is None else len(allowed))] + [
        ("mask", m.n_items) for m in mask
    ]:
        if width != n_items:
            raise UsageError(
                f"{name} knows {width} items, the ranking has {n_items}: they belong to different data sets"
            )


def _check_shape(shape: tuple[int, ...], users: int, items: int) -> None:
    if shape != (users, items):
        raise UsageError(
            f"the scorer rated {users} users by {items} items as a tensor of shape {shape}, "
            f"wanted ({users}, {items}): was the model made for another data set?"
        )


def _refuse_broken(broken: Tensor, users: Tensor | None) -> None:
    if bool(broken.any()):
        row = int(broken.nonzero()[0, 0])
        who = row if users is None else int(users[row])
        raise NegsieveError(
            f"the scores of user number {who} hold NaN ({int(broken.sum())} such users in this chunk): they cannot be "
            "ranked. The model has diverged, or its table was not loaded; lower the learning rate or check the file"
        )
