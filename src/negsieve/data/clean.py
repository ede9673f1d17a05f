"""Cleaning in a fixed order, each step counted: rating threshold, dates, repeated pairs, k-core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np

from negsieve.data.interactions import ExplicitNegatives, Interactions
from negsieve.data.vocabulary import Vocabulary
from negsieve.errors import DataError, UsageError

DUPLICATES = ("first", "last", "sum", "keep")
LAST_SECOND = 253_402_300_800
"""The end of the year 9999: times beyond it are no seconds since 1970."""


def rules(
    *,
    rating_min: float | None,
    duplicates: str,
    core: int | Sequence[int],
    since: object,
    until: object,
    negatives_below: float | None = None,
    apart: bool = False,
) -> dict:
    """The cleaning rules in one checked, JSON-ready form. Raises UsageError for one that makes no sense.

    apart  an id is another item in every domain
    """
    if duplicates not in DUPLICATES:
        raise UsageError(f"duplicates {duplicates!r} is none of {', '.join(DUPLICATES)}")
    if rating_min is not None and not np.isfinite(rating_min):
        raise UsageError(f"rating_min is {rating_min}, wanted a finite number")
    both = (core, core) if isinstance(core, int) else tuple(core)
    if len(both) != 2 or any(int(one) != one or one < 0 for one in both):
        raise UsageError(f"core is {core!r}, wanted a whole number, or two: (rows a user, rows an item)")
    if negatives_below is not None and not np.isfinite(negatives_below):
        raise UsageError(f"negatives_below is {negatives_below}, wanted a finite number")
    if negatives_below is not None and rating_min is not None and negatives_below > rating_min:
        raise UsageError(
            f"negatives_below={negatives_below:g} is above rating_min={rating_min:g}: a rating between them would be "
            "liked and disliked at once"
        )
    more = {} if negatives_below is None else {"negatives_below": float(negatives_below)}
    return (
        more
        | ({"apart": True} if apart else {})
        | {
            "rating_min": None if rating_min is None else float(rating_min),
            "since": moment(since, "since"),
            "until": moment(until, "until"),
            "duplicates": duplicates,
            "core": [int(one) for one in both],
        }
    )


def moment(value: object, name: str) -> float | None:
    """A bound in time as a number: numbers as they are, dates and ISO texts as seconds since 1970 (UTC)."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return None if value is None else float(value)
    try:
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                value = datetime.fromisoformat(value)
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    except (ValueError, AttributeError, TypeError):
        raise UsageError(f"{name} is {value!r}, wanted a number or a date such as 2024-05-31") from None


def clean(log: Interactions, rules: dict, *, source: str) -> Interactions:
    """Applies ``rules`` (of the function ``rules``) to a log; what went is counted in its ``facts``.

    1. ``negatives_below``: rows rated lower become explicit negatives instead of interactions; of them those
       outside the dates, and of users and items that do not remain, go. ``rating_min``: rows rated lower go,
       and rows without a rating.
    2. ``since <= time < until``: rows outside go.
    3. A pair (user, item) in several parts of a given split keeps its earliest part: train, valid,
       test. Of rows that still repeat a pair one stays: the first or last by time (by row where
       times tie or are absent), or the first with the ratings summed.
    4. ``core``: users with fewer rows than the first number and items with fewer than the second
       go, again and again until none is left to go.

    What remains is numbered anew by first appearance. Raises DataError when nothing remains.
    Memory: a few arrays as long as the log.
    """
    if not len(log):
        raise DataError("found no rows, wanted at least one", file=source)
    dropped: dict[str, int] = {}
    rows = np.arange(len(log))
    low = _low(log, rules, source)
    if low is not None:
        rows, dropped["negatives"] = rows[~low], int(low.sum())
    rows = _rated(log, rows, rules, dropped, source)
    rows = _dated(log, rows, rules, dropped, source)
    rows, rating = _distinct(log, rows, rules, dropped, source)
    rows, rounds = _cored(log, rows, rules, dropped)
    if not len(rows):
        counted = ", ".join(f"{count} by {step}" for step, count in dropped.items() if count)
        raise DataError(f"cleaning leaves nothing of {len(log)} rows ({counted}); loosen the rules", file=source)
    facts = {**log.facts, "rules": rules, "dropped": dropped, "core_rounds": rounds}
    cleaned = compact(log, rows, rating=rating)
    negatives = None if low is None else _negatives(log, np.flatnonzero(low), cleaned, rules)
    return replace(cleaned, facts=facts, negatives=negatives)


def _low(log: Interactions, rules: dict, source: str) -> np.ndarray | None:
    """The rows that are explicit negatives, ``bool[n]``."""
    below = rules.get("negatives_below")
    if below is None:
        return None
    if log.rating is None:
        raise DataError("found no rating column, wanted one for negatives_below", file=source)
    return log.rating < below


def _negatives(log: Interactions, rows: np.ndarray, cleaned: Interactions, rules: dict) -> ExplicitNegatives:
    """These rows of the log as pairs of the cleaned log's numbers."""
    outside: dict[str, int] = {}
    if log.timestamp is not None:
        rows = _dated(log, rows, rules, outside, "")
    place = []
    for numbers, old, new in ((log.user, log.users, cleaned.users), (log.item, log.items, cleaned.items)):
        known = np.full(len(old), -1, dtype=np.int64)
        known[old.numbers(new)] = np.arange(len(new))
        place.append(known[numbers[rows]])
    user, item = place
    take = (user >= 0) & (item >= 0)
    told = {
        "rows": len(rows),
        "unknown_users": len(np.unique(log.user[rows][user < 0])),
        "unknown_items": len(np.unique(log.item[rows][item < 0])),
        "unknown_pairs": int((~take).sum()),
        "dates": outside.get("dates", 0),
    }
    time = np.full(len(rows), np.nan) if log.timestamp is None else log.timestamp[rows]
    part = np.zeros(len(rows), dtype=np.int8) if log.part is None else log.part[rows]
    domain = None if log.domain is None else _places(log.domains, cleaned.domains)[log.domain[rows[take]]]
    return ExplicitNegatives(user[take], item[take], time[take], part[take], told, domain)


def _places(old: Sequence[str], new: Sequence[str]) -> np.ndarray:
    """Where each old name stands among the new ones, -2 where it does not: ``int16``."""
    place = {name: at for at, name in enumerate(new)}
    return np.array([place.get(name, -2) for name in old], dtype=np.int16)


def _rated(log: Interactions, rows: np.ndarray, rules: dict, dropped: dict[str, int], source: str) -> np.ndarray:
    if rules["rating_min"] is None:
        return rows
    if log.rating is None:
        raise DataError("found no rating column, wanted one for rating_min", file=source)
    rating = log.rating[rows]
    dropped["rating"] = int((rating < rules["rating_min"]).sum())
    dropped["unrated"] = int(np.isnan(rating).sum())
    return rows[rating >= rules["rating_min"]]


def _dated(log: Interactions, rows: np.ndarray, rules: dict, dropped: dict[str, int], source: str) -> np.ndarray:
    since, until = rules["since"], rules["until"]
    if since is None and until is None:
        return rows
    if log.timestamp is None:
        raise DataError("found no timestamp column, wanted one for since and until", file=source)
    latest = float(log.timestamp.max())
    if latest >= LAST_SECOND and any(one is not None and one < LAST_SECOND for one in (since, until)):
        raise DataError(
            f"found times up to {latest:g}, which are no seconds since 1970; give since and until as numbers like them",
            file=source,
        )
    inside = np.ones(len(rows), dtype=bool)
    if since is not None:
        inside &= log.timestamp[rows] >= since
    if until is not None:
        inside &= log.timestamp[rows] < until
    dropped["dates"] = int((~inside).sum())
    return rows[inside]


def _distinct(log: Interactions, rows: np.ndarray, rules: dict, dropped: dict[str, int], source: str):
    """One row a pair, and the ratings (of the whole log) where they were summed."""
    dropped["parts_overlap"] = dropped["duplicates"] = 0
    rating = log.rating
    if rules["duplicates"] == "sum" and rating is None:
        raise DataError("found no rating column, wanted one for duplicates='sum'", file=source)
    if rules["duplicates"] == "keep":
        return rows, rating
    item, n_items = _items(log, rules)
    key = log.user * n_items + item  # [n]
    if _all_differ(key if len(rows) == len(key) else key[rows]):
        return rows, rating
    if log.part is not None:
        _, group = np.unique(key[rows], return_inverse=True)
        earliest = np.full(group.max() + 1, 127, dtype=np.int8)
        np.minimum.at(earliest, group, log.part[rows])
        late = log.part[rows] > earliest[group]
        dropped["parts_overlap"] = int(late.sum())
        rows = rows[~late]
    by = (key[rows],) if log.timestamp is None else (log.timestamp[rows], key[rows])
    order = rows[np.lexsort(by)]  # pairs together, earliest first
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    dropped["duplicates"] = len(rows) - len(starts)
    if dropped["duplicates"] and rules["duplicates"] == "sum":
        rating = _summed(rating, order, starts)
    ends = np.append(starts[1:], len(order)) - 1
    return np.sort(order[ends if rules["duplicates"] == "last" else starts]), rating


def _all_differ(key: np.ndarray) -> bool:
    """Whether no number stands there twice. Cost: a plain sort, far less than to find who repeats whom."""
    ordered = np.sort(key)
    return not (ordered[1:] == ordered[:-1]).any()


def _items(log: Interactions, rules: dict) -> tuple[np.ndarray, int]:
    """What counts as an item of each row, and how many there can be: an id, or an id in a domain."""
    if not rules.get("apart") or log.domain is None:
        return log.item, len(log.items)
    return log.item * len(log.domains) + log.domain, len(log.items) * len(log.domains)


def _summed(rating: np.ndarray, order: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Ratings with each group's sum at its first row; rows without a rating add nothing to those with one."""
    values = rating[order]
    sums = np.add.reduceat(np.nan_to_num(values), starts)
    rated = np.add.reduceat(~np.isnan(values), starts, dtype=np.int64)
    summed = rating.copy()
    summed[order[starts]] = np.where(rated > 0, sums, np.nan)
    return summed


def _cored(log: Interactions, rows: np.ndarray, rules: dict, dropped: dict[str, int]) -> tuple[np.ndarray, int]:
    by_user, by_item = rules["core"]
    before, rounds = len(rows), 0
    if max(by_user, by_item) <= 1:
        return rows, rounds
    items, _ = _items(log, rules)
    while len(rows):
        user, item = log.user[rows], items[rows]
        keep = (np.bincount(user)[user] >= by_user) & (np.bincount(item)[item] >= by_item)
        if keep.all():
            break
        rows = rows[keep]
        rounds += 1
    dropped["core"] = before - len(rows)
    return rows, rounds


def compact(log: Interactions, rows: np.ndarray, *, rating: np.ndarray | None = None) -> Interactions:
    """The log with only ``rows`` (ascending), numbered anew by first appearance; ``facts`` are kept.

    ``rating`` stands in for the log's own ratings where given.
    """
    rating = log.rating if rating is None else rating
    if len(rows) == len(log) and rating is log.rating:
        return log
    user, kept_users = _renumbered(log.user[rows])
    item, kept_items = _renumbered(log.item[rows])
    domain, domains = None, ()
    if log.domain is not None:
        domain, kept = _renumbered(log.domain[rows])
        domain, domains = domain.astype(np.int16), tuple(log.domains[one] for one in kept)
    return replace(
        log,
        user=user,
        item=item,
        users=Vocabulary((log.users[one] for one in kept_users), kind="user"),
        items=Vocabulary((log.items[one] for one in kept_items), kind="item"),
        rating=None if rating is None else rating[rows],
        timestamp=None if log.timestamp is None else log.timestamp[rows],
        domain=domain,
        domains=domains,
        part=None if log.part is None else log.part[rows],
        titles=None if log.titles is None else [log.titles[one] for one in kept_items],
    )


def _renumbered(numbers: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Numbers by first appearance, and the old number of each new one."""
    old, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first)
    new = np.empty(len(old), dtype=np.int64)
    new[order] = np.arange(len(old))
    return new[inverse], old[order].tolist()
