"""A log of several domains, taken apart: one is the target, others stand beside it as sources.

The target is the catalogue: what is split, trained, ranked and recommended. What the same users did in
source domains is side information. It keeps its place in a user's merged order, so that what is judged
can be told from what came before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from negsieve.data.clean import compact
from negsieve.data.digest import add_column, add_texts
from negsieve.data.interactions import ExplicitNegatives, Interactions
from negsieve.data.vocabulary import Vocabulary
from negsieve.errors import DataError, UsageError, nearest
from negsieve.histories import Aside, Histories


@dataclass(frozen=True)
class SourceRows:
    """m rows of the source domains beside n rows of the target.

    user       ``int64[m]``, numbered as the target's users
    item       ``int64[m]``: domain d has ``offset[d]`` to ``offset[d + 1] - 1``, by first appearance
    row        ``int64[m]`` ascending: places in the log that held all domains
    target     ``int64[n]`` ascending: such places of the target's rows
    timestamp  ``float64[m]`` or None
    domains    the sources' names, in the order in which they were named
    items      the external ids of each domain's items
    """

    user: np.ndarray
    item: np.ndarray
    row: np.ndarray
    target: np.ndarray
    timestamp: np.ndarray | None
    domains: tuple[str, ...]
    items: tuple[Vocabulary, ...]

    def __len__(self) -> int:
        return len(self.user)

    @property
    def n_items(self) -> int:
        return sum(map(len, self.items))

    @property
    def offset(self) -> list[int]:
        """Where each domain's items begin, and the end of the last."""
        return [0, *np.cumsum([len(one) for one in self.items]).tolist()]

    def moments(self, timestamp: np.ndarray | None, *, order: str) -> tuple[np.ndarray, np.ndarray]:
        """When every row happened, as numbers without ties: ``(int64[n] target, int64[m] source)``.

        order      "time": by time, rows at one time as in the log; "given", and without times: as in the log
        timestamp  ``float64[n]`` of the target's rows
        """
        if order == "given" or timestamp is None:
            return self.target, self.row
        row, time = np.concatenate([self.target, self.row]), np.concatenate([timestamp, self.timestamp])
        moment = np.empty(len(row), dtype=np.int64)
        moment[np.lexsort((row, time))] = np.arange(len(row))
        return moment[: len(self.target)], moment[len(self.target) :]

    def of_users(self, users: np.ndarray, rows: np.ndarray) -> SourceRows:
        """The source rows of some users (ascending), who are numbered anew; ``rows``: their target rows."""
        keep = np.isin(self.user, users)
        return replace(
            self,
            user=np.searchsorted(users, self.user[keep]),
            item=self.item[keep],
            row=self.row[keep],
            target=self.target[rows],
            timestamp=None if self.timestamp is None else self.timestamp[keep],
        )

    def add_to(self, digest) -> None:
        """Adds everything to a hash: ids, dense columns, order."""
        for name, ids in zip(self.domains, self.items, strict=True):
            add_texts(digest, f"source {name}", ids)
        for name in ("user", "item", "row", "target", "timestamp"):
            add_column(digest, f"source {name}", getattr(self, name), layout="<f8" if name == "timestamp" else "<i8")


def take_apart(
    log: Interactions, target: str, *, sources: Sequence[str] = ()
) -> tuple[Interactions, SourceRows | None]:
    """The rows of the domain ``target`` as a log of their own, and the rows of ``sources`` beside it.

    Users are those with a row in the target, numbered by first appearance there; items are each domain's
    own. Rows of other domains, and source rows of users without a target row, are left out and counted in
    ``facts["target"]``. Without ``sources`` there are no rows beside it.

    Raises UsageError for a domain that is not there or is named twice, DataError where the log has no domain
    column or a source shares no user with the target.
    """
    sources = tuple(sources)
    at = [_number(log, name) for name in (target, *sources)]
    if len(set(at)) < len(at):
        twice = "is both target and source" if target in sources else "is named twice"
        raise UsageError(f"domain {log.domains[max(at, key=at.count)]!r} {twice}: name each domain once")
    own = np.flatnonzero(log.domain == at[0])
    taken = replace(compact(log, own), domain=None, domains=())
    number = np.full(len(log.users), -1, dtype=np.int64)  # the target's number of each user of the log
    number[log.users.numbers(taken.users)] = np.arange(len(taken.users))
    told = {"domain": target, "sources": list(sources), "rows": len(own), "users": len(taken.users)}
    beside = _beside(log, at[1:], number, own) if sources else None
    for name, place in zip(sources, at[1:], strict=True):
        users = np.unique(log.user[log.domain == place])
        shared = int((number[users] >= 0).sum())
        if not shared:
            raise DataError(
                f"the domains {target!r} and {name!r} share no user ({len(taken.users):,} and {len(users):,}), so "
                "nothing of one says anything about the other. Are users spelled alike in both?",
                file=log.facts.get("name") or None,
            )
        told[f"shared with {name}"] = shared
    told["source_rows"] = 0 if beside is None else len(beside)
    told["rows_left_out"] = len(log) - len(own) - told["source_rows"]
    negatives = None if log.negatives is None else _negatives_of(log, taken, number, at[0])
    return replace(taken, facts={**log.facts, "target": told}, negatives=negatives), beside


def _number(log: Interactions, name: str) -> int:
    if log.domain is None:
        raise DataError(
            f"found no domain column, wanted one that says which rows are of {name!r}; name it with --columns "
            "domain=NAME, or leave out --target and --source",
            file=log.facts.get("name") or None,
        )
    if name not in log.domains:
        raise UsageError(
            f"no domain {name!r} in the data; found {', '.join(map(repr, log.domains[:12]))}."
            f"{nearest(name, log.domains)}"
        )
    return log.domains.index(name)


def _beside(log: Interactions, domains: Sequence[int], number: np.ndarray, target: np.ndarray) -> SourceRows:
    keep = np.isin(log.domain, domains) & (number[log.user] >= 0)
    row = np.flatnonzero(keep)
    item, ids, start = np.empty(len(row), dtype=np.int64), [], 0
    for domain in domains:
        here = log.domain[row] == domain
        old, first, inverse = np.unique(log.item[row[here]], return_index=True, return_inverse=True)
        order = np.argsort(first)
        place = np.empty(len(old), dtype=np.int64)
        place[order] = np.arange(len(old))
        item[here] = start + place[inverse]
        ids.append(Vocabulary((log.items[one] for one in old[order].tolist()), kind="item"))
        start += len(old)
    return SourceRows(
        user=number[log.user[row]],
        item=item,
        row=row,
        target=target,
        timestamp=None if log.timestamp is None else log.timestamp[row],
        domains=tuple(log.domains[one] for one in domains),
        items=tuple(ids),
    )


def _negatives_of(log: Interactions, taken: Interactions, number: np.ndarray, target: int) -> ExplicitNegatives:
    """The explicit negatives of the target's users and items, in its numbers; those of other domains go."""
    given = log.negatives
    item_number = np.full(len(log.items), -1, dtype=np.int64)
    item_number[log.items.numbers(taken.items)] = np.arange(len(taken.items))
    user, item = number[given.user], item_number[given.item]
    keep = (user >= 0) & (item >= 0)
    if given.domain is not None:
        keep &= (given.domain == target) | (given.domain == -1)
    facts = given.facts | {"unknown_pairs": given.facts.get("unknown_pairs", 0) + int((~keep).sum())}
    sides = {name: getattr(given, name)[keep] for name in ("timestamp", "part")}
    return replace(given, user=user[keep], item=item[keep], **sides, facts=facts, domain=None)


def aside_of(
    source: SourceRows,
    *,
    user: np.ndarray,
    part: np.ndarray,
    timestamp: np.ndarray | None,
    known: Sequence[int],
    n_users: int,
    order: str,
    name: str,
) -> Aside:
    """The source rows as they may be known beside the target rows of the parts ``known``.

    user, part, timestamp  of the n target rows
    name                   of the known parts

    What is judged next is a user's first row of another part. A source row is there when it comes before that,
    or before a known target row of the user; users of whom nothing is judged have all of theirs.
    Cost: two sorts of the rows.
    """
    target, moment = source.moments(timestamp, order=order)
    end = _end(source)
    own = np.isin(part, known)
    other = ~own & (part >= 0)
    judged, last = np.full(n_users, end, dtype=np.int64), np.full(n_users, -1, dtype=np.int64)
    np.minimum.at(judged, user[other], target[other])
    np.maximum.at(last, user[own], target[own])
    keep = moment < np.maximum(judged, last)[source.user]
    key = np.sort(source.user[keep] * (end + 1) + moment[keep])  # in the order of Histories
    histories = Histories(
        *(torch.from_numpy(side[keep]) for side in (source.user, source.item)),
        when=torch.from_numpy(moment[keep]),
        n_users=n_users,
        order=order,
        part=name,
    )
    first = histories.offset.numpy()

    def before(users: np.ndarray, moments: np.ndarray) -> torch.Tensor:
        place = np.searchsorted(key, users * (end + 1) + moments) - 1
        return torch.from_numpy(np.where(place >= first[users], place, -1))

    return Aside(
        histories,
        before=before(user[own], target[own]),
        last=before(np.arange(n_users), judged),
        n_items=source.n_items,
    )


def _end(source: SourceRows) -> int:
    """A number beyond every moment, whatever the order."""
    both = (source.row, source.target)
    return int(max((side[-1] for side in both if len(side)), default=0)) + 1
