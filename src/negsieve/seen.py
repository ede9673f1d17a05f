"""Who has touched what, in a form that excludes exactly.

The items of each user stand sorted in one array of 32-bit numbers, one user behind the other. A binary
search in a user's part answers both "has the user seen this item?" and "which is the user's r-th unseen
item?", for any number of users together, on CPU (compiled where it can be) and GPU.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from negsieve.kernels.membership import Rows, Sieve, contains, pairs, sieve_of

_MOST = 2**31 - 1


class Seen(nn.Module):
    """An immutable index of (user, item) pairs, with the part of the data that they came from.

    user, item  ``Long[n]`` or arrays; repeats are merged
    part        "train", or what else the pairs are: samplers refuse anything but "train"
    oracle      the pairs may be read whatever part they are: whoever builds such an index says that the
                experiment knows what it should not, and must stamp what comes of it

    Memory: 6 bytes a pair at most and 24 a user. Buffers move with ``.to()`` and stay out of checkpoints, because
    the data hash already fixes them.
    """

    def __init__(self, user, item, *, n_users: int, n_items: int, part: str = "train", oracle: bool = False) -> None:
        super().__init__()
        self.n_users, self.n_items, self.part, self.oracle = int(n_users), int(n_items), part, oracle
        user, item = _long(user), _long(item)
        if len(user) != len(item):
            raise ValueError(f"{len(user)} users beside {len(item)} items: the pairs must line up")
        if self.n_items > _MOST:
            raise ValueError(f"{self.n_items} items, wanted at most {_MOST}: ids are kept in 32 bits")
        for name, side, bound in (("user", user, self.n_users), ("item", item, self.n_items)):
            if len(side) and not (0 <= int(side.min()) and int(side.max()) < bound):
                raise ValueError(f"{name} ids run {int(side.min())}..{int(side.max())}, wanted 0..{bound - 1}")
        key = _distinct((user * self.n_items).add_(item))  # [n]
        owner = key // max(self.n_items, 1)
        degree = torch.bincount(owner, minlength=self.n_users)
        offset = torch.zeros(self.n_users + 1, dtype=torch.long)
        offset[1:] = degree.cumsum(0)
        self._longest = int(degree.max()) if self.n_users else 0
        self.register_buffer("packed", key.sub_(owner.mul_(self.n_items)).int(), persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        sieve = sieve_of(Rows(offset, self.packed, self.n_items, self._longest)) or (None, None)
        for name, one in zip(("head", "word"), sieve, strict=True):
            self.register_buffer(name, one, persistent=False)
        self._rows: Rows | None = None

    def __len__(self) -> int:
        return len(self.packed)

    def __repr__(self) -> str:
        return f"Seen({len(self)} {self.part} pairs of {self.n_users} users and {self.n_items} items)"

    def apart(self) -> Seen:
        """The same index as a module of its own: ``.to()`` moves it alone, and until then the arrays are shared."""
        return deepcopy(self, {id(one): one for one in self.buffers()})

    @property
    def rows(self) -> Rows:
        """The users' sorted rows, as kernels take them."""
        if self._rows is None or self._rows.offset is not self.offset:  # moved to another device
            sieve = None if self.head is None else Sieve(self.head, self.word)
            self._rows = Rows(self.offset, self.packed, self.n_items, self._longest, sieve)
        return self._rows

    @property
    def item(self) -> Tensor:
        """The item of every pair, users one behind the other: ``Long[n]``, made anew at each call."""
        return self.packed.long()

    @property
    def owner(self) -> Tensor:
        """The user of every pair: ``Long[n]``, made anew at each call."""
        return torch.repeat_interleave(torch.arange(self.n_users, device=self.offset.device), self.degree())

    @property
    def key(self) -> Tensor:
        """``user * n_items + item`` of every pair, which is ascending: ``Long[n]``, made anew at each call."""
        return self.owner * self.n_items + self.packed

    def at(self, place: Tensor) -> Tensor:
        """The items of some pairs, by their places among all: ``Long[..]`` -> ``Long[..]``."""
        return self.packed[place].long()

    def owner_at(self, place: Tensor) -> Tensor:
        """The users of some pairs: ``Long[..]`` -> ``Long[..]``. Cost: a binary search over the users each."""
        return torch.searchsorted(self.offset, place, right=True) - 1

    def degree(self, user: Tensor | None = None) -> Tensor:
        """How many items each user (all of them by default) has: ``Long[B]``."""
        if user is None:
            return self.offset[1:] - self.offset[:-1]
        return self.offset[user + 1] - self.offset[user]

    def popularity(self) -> Tensor:
        """How many users each item has: ``Long[I]``."""
        return torch.bincount(self.packed, minlength=self.n_items)

    def contains(self, user: Tensor, item: Tensor) -> Tensor:
        """Whether the pair is in the index. ``user [B]``, ``item [B|1, M]`` -> ``Bool[B, M]``.

        Cost: one read an entry, and a binary search of the user's items where the sieve lets it pass; for shared
        items one look-up a pair that the users have, and one write an entry.
        """
        return contains(user, item, rows=self.rows)

    def of(self, user: Tensor) -> tuple[Tensor, Tensor]:
        """The pairs of some users as ``(row [n], item [n])``, where row is the place in ``user``."""
        row, item = pairs(user, self.rows)
        return row, item.long()


def _distinct(key: Tensor) -> Tensor:
    """The distinct numbers of ``Long[n]``, ascending. Sorts ``key`` in place, which torch cannot, and so needs no more
    memory where none repeats."""
    key.numpy().sort()
    again = key[1:] == key[:-1]
    return torch.cat([key[:1], key[1:][~again]]) if bool(again.any()) else key


def _long(side) -> Tensor:
    """A ``Long[n]`` on the CPU; arrays are copied, because torch would warn of read-only ones."""
    if isinstance(side, Tensor):
        return side.detach().to("cpu", torch.long)
    return torch.from_numpy(np.array(side, dtype=np.int64))
