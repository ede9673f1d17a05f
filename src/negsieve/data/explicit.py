"""Explicit negatives: what users were shown and skipped, or said that they dislike.

They come from rows of the log that are rated too low, from a file of their own, or both. They are
training data like any other, so what a user turned down after training ended is left out, as far as
times and parts can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from negsieve.data.dataset import Dataset
from negsieve.data.interactions import ExplicitNegatives, Interactions
from negsieve.data.read import read
from negsieve.data.vocabulary import Vocabulary
from negsieve.seen import Seen

BY_TIME = ("temporal", "loo", "given")
"""The splits under which a negative with a time must not be later than the user's last train row."""


@dataclass(frozen=True)
class _Bounds:
    """Times to keep: ``since <= t < until``, as cleaning read them; rows without a time are kept."""

    since: float | None
    until: float | None

    def hold(self, time: np.ndarray) -> np.ndarray:
        inside = np.ones(len(time), dtype=bool)
        if self.since is not None:
            inside &= ~(time < self.since)
        if self.until is not None:
            inside &= ~(time >= self.until)
        return inside


def add_negatives(
    log: Interactions,
    source: Any,
    *,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    skip_bad: int = 0,
    memory_limit: str | None = None,
) -> Interactions:
    """The log with the pairs of ``source`` added to its explicit negatives.

    source   what ``read`` takes: user, item and perhaps a time; other columns are not looked at
    columns  as in ``read``; what is said of ratings and domains does not concern this file

    Users and items that the log does not have are left out and counted. Raises as ``read``.
    """
    said = {role: name for role, name in (columns or {}).items() if role in ("user", "item", "timestamp", "split")}
    found = read(
        source,
        format=format,
        columns=said | {"rating": "", "domain": ""},
        skip_bad=skip_bad,
        memory_limit=memory_limit,
    )
    user, item = _translated(found.users, log.users)[found.user], _translated(found.items, log.items)[found.item]
    rules = log.facts.get("rules", {})
    time = np.full(len(found), np.nan) if found.timestamp is None else found.timestamp
    known, inside = (user >= 0) & (item >= 0), _Bounds(rules.get("since"), rules.get("until")).hold(time)
    told = {
        "file": found.facts.get("name"),
        "rows": found.facts.get("rows_read", len(found)) - found.facts.get("rows_rejected", 0),
        "bad_rows": found.facts.get("rows_rejected", 0),
        "unknown_users": _gone(found.user, user, found.users),
        "unknown_items": _gone(found.item, item, found.items),
        "unknown_pairs": int((~known).sum()),
        "dates": int((known & ~inside).sum()),
    }
    take = known & inside
    part = np.zeros(len(found), dtype=np.int8) if found.part is None else found.part
    more = ExplicitNegatives(user[take], item[take], time[take], part[take], told)
    return replace(log, negatives=more if log.negatives is None else joined(log.negatives, more))


def joined(one: ExplicitNegatives, two: ExplicitNegatives) -> ExplicitNegatives:
    """Both sets, with counts of the same name added up."""
    columns = (
        np.concatenate([getattr(one, name), getattr(two, name)]) for name in ("user", "item", "timestamp", "part")
    )
    domain = None
    if one.domain is not None or two.domain is not None:
        domain = np.concatenate([_domains(side) for side in (one, two)])
    facts = {**one.facts, **two.facts}
    facts |= {
        name: one.facts[name] + two.facts[name]
        for name in one.facts
        if name in two.facts and isinstance(one.facts[name], int)
    }
    return ExplicitNegatives(*columns, facts, domain)


def _domains(given: ExplicitNegatives) -> np.ndarray:
    return np.full(len(given.user), -1, dtype=np.int16) if given.domain is None else given.domain


def settle(dataset: Dataset) -> Dataset:
    """The data set with ``explicit``: those of the log's negatives that training may know.

    Left out, each counted in ``facts["negatives"]``:

    1. pairs that the source marks as valid or test
    2. after a split of ``BY_TIME``: pairs later than the user's last train row; pairs without a time
       cannot be judged and stay
    3. pairs that are train positives of the user: who took it in the end did not mean the refusal

    A pair that the user takes in a held-out part stays: training could not know that. How many there
    are is counted, for people to read.
    """
    given = dataset.interactions.negatives
    if given is None:
        return dataset
    n_items = dataset.n_items
    key = given.user * n_items + given.item
    apart = given.part != 0
    late = ~apart & _later(dataset, given)
    positive = np.isin(key, _keys(dataset, "train")) & ~apart & ~late
    keep = ~(apart | late | positive)
    explicit = Seen(
        torch.from_numpy(given.user[keep]),
        torch.from_numpy(given.item[keep]),
        n_users=dataset.n_users,
        n_items=n_items,
        part="negatives",
    )
    timed = dataset.split.get("method") in BY_TIME
    told = dict(given.facts) | {
        "held_out_rows": int(apart.sum()),
        "later": int(late.sum()),
        "train_positives": int(positive.sum()),
        "repeats": int(keep.sum()) - len(explicit),
        "without_time": int(np.isnan(given.timestamp[keep]).sum()) if timed else 0,
        "kept": len(explicit),
        "users": int((explicit.degree() > 0).sum()),
        "taken_later": int(np.isin(explicit.key.numpy(), _keys(dataset, "valid", "test")).sum()),
    }
    log = replace(dataset.interactions, negatives=None, facts={**dataset.interactions.facts, "negatives": told})
    return replace(dataset, interactions=log, explicit=explicit)


def words(told: Mapping[str, Any]) -> str:
    """What became of the explicit negatives, in a line for people."""
    if not told:
        return ""
    reasons = {
        "bad_rows": "bad rows",
        "unknown_pairs": "of unknown users or items",
        "dates": "outside the dates",
        "held_out_rows": "in held-out rows",
        "later": "later than the user's last train row",
        "train_positives": "taken in train",
        "repeats": "repeats",
    }
    gone = [f"{told[name]:,} {text}" for name, text in reasons.items() if told.get(name)]
    line = f"{told['kept']:,} of {told['users']:,} users"
    if gone:
        line += f"; left out {', '.join(gone)}"
    if told["taken_later"]:
        line += f"; {told['taken_later']:,} are taken in valid or test after all, which training does not know"
    if told.get("without_time"):
        line += f"; {told['without_time']:,} without a time, so that nothing says they were before the split"
    return line


def _later(dataset: Dataset, given: ExplicitNegatives) -> np.ndarray:
    """Pairs after the user's last train row, ``bool[m]``; all of a user who has none."""
    log = dataset.interactions
    if log.timestamp is None or dataset.split.get("method") not in BY_TIME:
        return np.zeros(len(given.user), dtype=bool)
    last = np.full(dataset.n_users, -np.inf)
    rows = dataset.rows("train")
    np.maximum.at(last, log.user[rows], log.timestamp[rows])
    return given.timestamp > last[given.user]  # False where the time is NaN


def _keys(dataset: Dataset, *parts: str) -> np.ndarray:
    rows = dataset.rows(*parts)
    return dataset.interactions.user[rows] * dataset.n_items + dataset.interactions.item[rows]


def _translated(ids: Vocabulary, known: Vocabulary) -> np.ndarray:
    """The log's number of each id, -1 where it has none."""
    place = {text: number for number, text in enumerate(known)}
    return np.array([place.get(text, -1) for text in ids], dtype=np.int64)


def _gone(numbers: np.ndarray, translated: np.ndarray, ids: Vocabulary) -> int:
    """How many distinct ids the log does not have."""
    return len(np.unique(numbers[translated < 0])) if len(ids) else 0
