"""Prefers candidates that training still moves: a false negative resists being pushed down (GDNS).

For a pair of a user and a negative item, the gap to the user's positives shrinks while training
works on it; how fast is its gain. Items that belong to the user keep their gap, so low gains are
suspect.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from negsieve.errors import UsageError
from negsieve.samplers.base import Stage
from negsieve.samplers.pools import first_of_each
from negsieve.samplers.select import choose, masked
from negsieve.schedule import checked
from negsieve.seen import Seen

GAP, GAIN = 100.0, 1.0  # of a pair never met: optimistic, so that it is tried
DENSE_LIMIT = 1 << 30  # bytes
_WAYS = 8
_SPREAD = 0x9E3779B97F4A7C15 - (1 << 64)  # an odd constant whose multiples fill the upper bits evenly


class DensePairs(nn.Module):
    """Gap and gain of every pair there is: 8 bytes each. Raises ``UsageError`` above 1 GiB."""

    def __init__(self, n_users: int, n_items: int) -> None:
        super().__init__()
        if 8 * n_users * n_items > DENSE_LIMIT:
            raise UsageError(
                f"dense=true for {n_users} users and {n_items} items takes {8 * n_users * n_items} bytes, more than "
                f"{DENSE_LIMIT}: leave it out, and set slots to how many pairs may be remembered"
            )
        self.n_items = n_items
        self.register_buffer("gap", torch.full((n_users, n_items), GAP))
        self.register_buffer("gain", torch.full((n_users, n_items), GAIN))

    def read(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Gap and gain of pairs, ``Long[..]`` both -> ``Float[..]``."""
        return self.gap[user, item], self.gain[user, item]

    def write(self, user: Tensor, item: Tensor, gap: Tensor, gain: Tensor) -> None:
        """Of different pairs, all ``[n]``."""
        self.gap[user, item], self.gain[user, item] = gap, gain


class HashedPairs(nn.Module):
    """Gap and gain of the pairs met last: a table of buckets of eight slots, found by a hash of the pair.

    n_users, n_items  U and I
    slots             how many pairs there is room for, cut to twice the pairs there are

    A new pair takes an empty slot of its bucket, or the one that was written longest ago. Of several new pairs in one
    bucket the first eight find room, the others are not remembered. Memory: 20 bytes a slot.
    """

    def __init__(self, n_users: int, n_items: int, *, slots: int) -> None:
        super().__init__()
        if slots < 1:
            raise UsageError(f"slots={slots}, wanted 1 or more")
        slots = min(slots, 2 * n_users * n_items)
        self.n_items, ways = n_items, min(_WAYS, slots)
        shape = (-(-slots // ways), ways)
        self.register_buffer("key", torch.full(shape, -1))
        self.register_buffer("written", torch.full(shape, -1, dtype=torch.int32))
        self.register_buffer("gap", torch.full(shape, GAP))
        self.register_buffer("gain", torch.full(shape, GAIN))
        self.register_buffer("clock", torch.zeros((), dtype=torch.int32))

    def read(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Gap and gain of pairs, ``Long[..]`` both -> ``Float[..]``; those of a pair never met where unknown."""
        key = user * self.n_items + item
        place, found = self._find(key.flatten())
        gap = torch.where(found, self.gap.flatten()[place], GAP)
        gain = torch.where(found, self.gain.flatten()[place], GAIN)
        return gap.view(key.shape), gain.view(key.shape)

    def write(self, user: Tensor, item: Tensor, gap: Tensor, gain: Tensor) -> None:
        """Of different pairs, all ``[n]``."""
        key = user * self.n_items + item
        place, found = self._find(key)
        self._put(place[found], key[found], gap[found], gain[found])
        place, fits = self._room(key[~found])
        self._put(place, *(side[~found][fits] for side in (key, gap, gain)))
        self.clock += 1

    def _put(self, place: Tensor, key: Tensor, gap: Tensor, gain: Tensor) -> None:
        now = self.clock.expand(len(place))
        for table, value in ((self.key, key), (self.gap, gap), (self.gain, gain), (self.written, now)):
            table.view(-1)[place] = value

    def _bucket(self, key: Tensor) -> Tensor:
        return ((key * _SPREAD >> 32) & 0x7FFFFFFF) % len(self.key)

    def _find(self, key: Tensor) -> tuple[Tensor, Tensor]:
        """The slot of each key ``[n]``, and whether it is there."""
        bucket = self._bucket(key)
        same = self.key[bucket] == key[:, None]  # [n, ways]
        return bucket * self.key.shape[1] + same.byte().argmax(1), same.any(1)

    def _room(self, key: Tensor) -> tuple[Tensor, Tensor]:
        """A slot for each new key that finds one, in the order of the keys that do: ``Long[m]``, ``Bool[n]``.

        The r-th new key of a bucket gets its r-th oldest slot, so no two get the same.
        """
        bucket, order = torch.sort(self._bucket(key), stable=True)
        row = torch.arange(len(bucket), device=key.device)
        start = torch.searchsorted(bucket, bucket)  # where its bucket begins
        rank = torch.empty_like(row).scatter_(0, order, row - start)
        bucket = self._bucket(key)
        fits = rank < self.key.shape[1]
        oldest = self.written[bucket[fits]].argsort(dim=1, stable=True)  # [m, ways]
        way = oldest.gather(1, rank[fits][:, None])[:, 0]
        return bucket[fits] * self.key.shape[1] + way, fits


class LargestGain(Stage):
    """The K candidates with the largest gain for their user, and the memory that measures it.

    ``H = mean_p max(0, margin + s_j - s_p)`` over P uniform positives of the user (with replacement);
    ``g = clip((H_before - H) / (H_before + floor), -1, 1)``; ``G <- decay G + (1 - decay) g``.

    pairs        ``DensePairs`` or ``HashedPairs``: where gap H and gain G are kept; 100 and 1 for a pair never met
    seen         training pairs, whose positives the gap is measured against
    n_negatives  K
    positives    P
    margin       of the gap
    decay        the share of the old gain; a number or a schedule
    floor        above 0: gains of a gap near it are damped

    Only what training used is measured. G stays in -1 .. 1. Of a pair that a batch holds twice, its first place
    counts. Ties, as among pairs never met, go to the first drawn. Cost: P + K score evaluations a row
    without gradient. Zhu et al., WWW 2022.
    """

    def __init__(
        self,
        pairs: DensePairs | HashedPairs,
        *,
        seen: Seen,
        n_negatives: int,
        positives: int = 32,
        margin: float | str = 1.0,
        decay: float | str = 0.5,
        floor: float = 1e-3,
    ) -> None:
        super().__init__()
        if n_negatives < 1 or positives < 1:
            raise UsageError(f"n_negatives={n_negatives}, positives={positives}, wanted 1 or more of both")
        if not floor > 0:
            raise UsageError(f"floor={floor}, wanted a number above 0")
        self.pairs, self.seen, self.n_negatives, self.positives = pairs, seen, n_negatives, positives
        self.margin, self.floor = checked("margin", margin), floor
        self.decay = checked("decay", decay, least=0.0, most=1.0)

    def refine(self, negatives, batch, scorer, rng):
        item = negatives.item.expand(len(batch), -1)
        if item.shape[1] < self.n_negatives:
            raise UsageError(f"the best {self.n_negatives} of {item.shape[1]} candidates: draw more, or keep fewer")
        _, gain = self.pairs.read(batch.user[:, None].expand_as(item), item)
        order = masked(gain, negatives.keep).argsort(dim=1, descending=True, stable=True)
        return choose(negatives, order[:, : self.n_negatives])

    def observe(self, batch, negatives, scorer, loss, rng):
        item = negatives.item.expand(len(batch), -1)  # [B, K]
        with torch.no_grad():
            score = scorer.score(torch.cat([item, self._own(batch, rng)], dim=1))
        other, own = score[:, None, : item.shape[1]], score[:, item.shape[1] :, None]  # [B, 1, K], [B, P, 1]
        gap = (other - own + self.margin.value).relu().mean(1)  # [B, K]
        return {"user": batch.user[:, None].expand_as(item).flatten(), "item": item.flatten(), "gap": gap.flatten()}

    def _own(self, batch, rng: torch.Generator) -> Tensor:
        """P positives of each row's user, ``Long[B, P]``; the row's own for a user without any in ``seen``."""
        many = self.seen.degree(batch.user)[:, None]  # [B, 1]
        lot = torch.rand(len(batch), self.positives, generator=rng, device=batch.user.device, dtype=torch.float64)
        place = self.seen.offset[batch.user][:, None] + torch.minimum((lot * many).long(), (many - 1).clamp_min(0))
        own = batch.item[:, None].expand(place.shape)
        if not len(self.seen):
            return own
        return torch.where(many > 0, self.seen.at(place.clamp_max(len(self.seen) - 1)), own)

    def learn(self, evidence):
        user, item, gap = (torch.cat([one[name] for one in evidence]) for name in ("user", "item", "gap"))
        first = first_of_each(user * self.pairs.n_items + item)
        user, item, gap = user[first], item[first], gap[first].float()
        before, gain = self.pairs.read(user, item)
        moved = ((before - gap) / (before + self.floor)).clamp(-1.0, 1.0)
        decay = self.decay.value
        self.pairs.write(user, item, gap, (decay * gain + (1 - decay) * moved).float())
