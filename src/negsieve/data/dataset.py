"""A log that is read, cleaned, numbered and split: what training and evaluation see."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from negsieve.data.digest import add_column, add_texts
from negsieve.data.domains import SourceRows, aside_of
from negsieve.data.interactions import Interactions
from negsieve.data.vocabulary import Vocabulary
from negsieve.errors import DataError
from negsieve.histories import Aside, Histories
from negsieve.seen import Seen

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Dataset:
    """Interactions and the part that each row belongs to.

    part   ``int8[n]``: 0 train, 1 valid, 2 test, -1 in none of them
    split  how the parts were made, for summaries and manifests
    explicit  what users turned down, as far as training may know it; its part is "negatives"
    aside  the users' rows in source domains, where there are any: side information, no part of the catalogue
    """

    name: str
    interactions: Interactions
    part: np.ndarray
    split: dict = field(default_factory=dict)
    explicit: Seen | None = None
    aside: SourceRows | None = None

    @property
    def users(self) -> Vocabulary:
        return self.interactions.users

    @property
    def items(self) -> Vocabulary:
        return self.interactions.items

    @property
    def titles(self) -> list[str] | None:
        return self.interactions.titles

    @property
    def n_users(self) -> int:
        return len(self.users)

    @property
    def n_items(self) -> int:
        return len(self.items)

    def rows(self, *parts: str) -> np.ndarray:
        """Places of the rows in the named parts, ascending: ``int64[m]``."""
        return np.flatnonzero(self._inside(parts))

    def _inside(self, parts: tuple[str, ...]) -> np.ndarray:
        """Whether each row is in one of the named parts: ``bool[n]``."""
        inside = np.zeros(len(self.part), dtype=bool)
        for part in parts:
            inside |= self.part == PARTS.index(part)
        return inside

    def pairs(self, *parts: str) -> tuple[Tensor, Tensor]:
        """``(user Long[m], item Long[m])`` of the rows in the named parts, in input order.

        Where those rows stand together, as parts that came in files of their own do, this is the log's own memory.
        """
        inside, log = self._inside(parts), self.interactions
        first = int(inside.argmax()) if len(inside) else 0
        together = slice(first, first + np.count_nonzero(inside))
        take = together if inside[together].all() else inside
        return tuple(torch.from_numpy(np.require(side[take], np.int64, ("C", "W"))) for side in (log.user, log.item))

    def seen(self, *parts: str, oracle: bool = False) -> Seen:
        """The index of the named parts; its ``part`` says which. ``oracle``: samplers may read it whatever it is.

        Cost: a sort of the pairs; train's is made once and its arrays are shared by all who ask.
        """
        return self.train.apart() if parts == ("train",) and not oracle else self._index(parts, oracle=oracle)

    def _index(self, parts: tuple[str, ...], *, oracle: bool = False) -> Seen:
        user, item = self.pairs(*parts)
        return Seen(user, item, n_users=self.n_users, n_items=self.n_items, part="+".join(parts), oracle=oracle)

    def had(self) -> Seen:
        """The index of all that users have in the log, in whichever part or in none: what is no news to them."""
        user, item = (torch.from_numpy(side) for side in (self.interactions.user, self.interactions.item))
        return Seen(user, item, n_users=self.n_users, n_items=self.n_items, part="log")

    def histories(self, *parts: str, order: str = "time") -> Histories:
        """The rows of the named parts as users' sequences; ``order``: "time", ties by row, or "given", by row.

        A log without times whose rows have positions stands in that order. Raises DataError where the log has
        neither, or one time for all rows, and so no such order.
        """
        rows, (user, item) = self.rows(*parts), self.pairs(*parts)
        when = self._times(order)
        when = None if when is None else torch.from_numpy(when[rows])
        return Histories(user, item, when=when, n_users=self.n_users, order=order, part="+".join(parts))

    @cached_property
    def order(self) -> str:
        """What can be known of the order of a user's rows: "time", or "given" where no times tell rows apart."""
        when = self.interactions.timestamp
        return "given" if when is None or (when == when[:1]).all() else "time"

    def asides(self, *parts: str, order: str = "time") -> Aside | None:
        """What is known of the source domains beside the rows of the named parts; None without source domains.

        Judged next are the rows of other parts: ``latest`` is the last source row before a user's first of them.
        Raises DataError as ``histories``.
        """
        if self.aside is None:
            return None
        return aside_of(
            self.aside,
            user=self.interactions.user,
            part=self.part,
            timestamp=self._times(order),
            known=[PARTS.index(part) for part in parts],
            n_users=self.n_users,
            order=order,
            name="+".join(parts),
        )

    def _times(self, order: str) -> np.ndarray | None:
        """What rows are ordered by, ``float64[n]``; None: as they stand."""
        when = self.interactions.timestamp if order == "time" else None
        if order != "time":
            return None
        if when is None or (when == when[:1]).all():
            if "position" in self.interactions.facts.get("columns", {}):
                return None
            raise DataError(
                f"{self.name!r} has {'no timestamp column' if when is None else 'the same timestamp in every row'}, so "
                "nothing says what a user did first, which a sequence model needs. Name the column with "
                '--set "data.columns={timestamp: <name>}"; or, where the rows of every user stand in order, say '
                "sasrec:order=given."
            )
        return when

    @cached_property
    def train(self) -> Seen:
        return self._index(("train",))

    @cached_property
    def valid(self) -> Seen:
        return self.seen("valid")

    @cached_property
    def test(self) -> Seen:
        return self.seen("test")

    @cached_property
    def saturated_users(self) -> Tensor:
        """Users who have every item in train, so that no negative is left for them: ``Bool[U]``."""
        return self.train.degree() == self.n_items

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over ids, dense columns, parts, explicit negatives and source rows; not the name or titles.

        Equal data have equal hashes on every machine. Cost: one pass, about a second a gigabyte.
        """
        log = self.interactions
        digest = hashlib.sha256(b"negsieve data 1")
        for kind, texts in (("users", self.users), ("items", self.items), ("domains", log.domains)):
            add_texts(digest, kind, texts)
        columns = (
            *(("user", log.user, "<i8"), ("item", log.item, "<i8"), ("rating", log.rating, "<f8")),
            *(("timestamp", log.timestamp, "<f8"), ("domain", log.domain, "<i2"), ("part", self.part, "|i1")),
        )
        for kind, column, layout in columns:
            add_column(digest, kind, column, layout=layout)
        if self.explicit is not None:
            digest.update(f"\nnegatives {len(self.explicit)}\n".encode())
            digest.update(np.ascontiguousarray(self.explicit.key.cpu().numpy(), dtype="<i8").data)
        if self.aside is not None:
            self.aside.add_to(digest)
        return digest.hexdigest()

    @cached_property
    def cold_users(self) -> Tensor:
        """Users without a row in train: ``Bool[U]``."""
        return self.train.degree() == 0

    @cached_property
    def cold_items(self) -> Tensor:
        """Items without a row in train: ``Bool[I]``."""
        return self.train.popularity() == 0
