"""Splits: which rows train, which choose (valid) and which judge (test)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from negsieve.data.dataset import Dataset
from negsieve.data.domains import SourceRows
from negsieve.data.explicit import settle
from negsieve.data.interactions import Interactions
from negsieve.errors import DataError, UsageError, nearest
from negsieve.rng import derive, shuffled

METHODS = ("auto", "given", "ratio", "loo", "temporal", "kfold", "none")
_ALIASES = {
    **{"rs": "ratio", "ro": "ratio", "random": "ratio", "ratio-split": "ratio"},
    **{"ls": "loo", "leave-one-out": "loo", "leave-last-out": "loo", "loo-full": "loo"},
    **{"to": "temporal", "time": "temporal", "global-time": "temporal", "temporal-global": "temporal"},
    **{"k-fold": "kfold", "cv": "kfold", "files": "given", "all": "none"},
}


def split(
    interactions: Interactions,
    method: str = "auto",
    *,
    ratios: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 42,
    folds: int = 5,
    fold: int = 0,
    valid_from_train: float = 0.0,
    name: str = "",
    aside: SourceRows | None = None,
    min_train: int | None = None,
    needs_source: bool = True,
    drop_last_user: bool = False,
) -> Dataset:
    """Gives every row a part: 0 train, 1 valid, 2 test.

    given     as the source says (a split column, or files by part)
    ratio     at random within each user. Of n rows valid and test get ``floor(n * ratio)``; then a
              part that this left empty though its share is above nothing gets one row, test first,
              as long as train keeps one more (RecBole's rule). Train always keeps at least one.
    loo       each user's last row by time is test and the one before it valid (rows at equal times,
              and logs without times, go by row order); a user with under 3 rows keeps all in train.
              In the target of a log of several domains, and where ``min_train`` is given, a user is
              judged who keeps ``min_train`` rows (2) in train and, with ``needs_source``, has a source
              row before the test row. The rows of others, and with ``drop_last_user`` those of the
              log's last user, are in no part
    temporal  one cut in time for all: rows before the first ratio's quantile train, rows from the
              second cut on test. Rows at the same time stay together, in the later part, so nothing
              in train is as late as anything in valid or test
    kfold     the rows of each user dealt at random over ``folds``; ``fold`` is test, the rest train.
              Over all folds each row is in test once
    none      all rows train
    auto      given where the source marks valid or test rows, else in a target loo, else temporal where
              there are times, else ratio

    RecBole's words RS, LS and TO are taken for ratio, loo and temporal. ``valid_from_train`` moves
    that share of each user's train rows, by the rule of ``ratio``, to valid where there is no valid
    row. Randomness is a function of ``seed`` and the row's place alone. ``aside``: the rows of source domains,
    which no split touches.

    Raises DataError when train comes out empty or the log lacks what the method needs, UsageError
    for arguments that make no sense. Cost: a few sorts of the log.
    """
    chosen = _method(interactions, method)
    shares = _shares(ratios)
    if not 0 <= valid_from_train < 1:
        raise UsageError(f"valid_from_train is {valid_from_train}, wanted a share from 0 to below 1")
    told: dict = {"method": chosen, "asked": method}
    if chosen == "given":
        part = _given(interactions)
    elif chosen == "ratio":
        part = _ratio(interactions.user, shares, _shuffle(interactions, "split ratio", seed))
        told |= {"ratios": list(shares), "seed": seed}
    elif chosen == "loo" and (min_train is not None or "target" in interactions.facts):
        least = 2 if min_train is None else min_train
        part, found = _judged_only(interactions, aside, least, needs_source=needs_source, without_last=drop_last_user)
        told |= found
    elif chosen == "loo":
        part, whole = _leave_one_out(interactions)
        told["users_kept_whole"] = whole
    elif chosen == "temporal":
        part, cuts = _temporal(interactions, shares)
        told |= {"ratios": list(shares), "cuts": cuts}
    elif chosen == "kfold":
        part = _kfold(interactions, folds=folds, fold=fold, seed=seed)
        told |= {"folds": folds, "fold": fold, "seed": seed}
    else:
        part = np.zeros(len(interactions), dtype=np.int8)
    if valid_from_train:
        part = _carved(interactions, part, valid_from_train, seed)
        told |= {"valid_from_train": valid_from_train, "seed": seed}
    if not (part == 0).any():
        raise DataError(
            f"the {chosen} split leaves nothing in train, wanted at least one row; choose another split",
            file=interactions.facts.get("name") or None,
        )
    told |= {word: int((part == at).sum()) for at, word in enumerate(("train", "valid", "test"))}
    return settle(Dataset(name or interactions.facts.get("name", "") or "data", interactions, part, told, aside=aside))


def _method(log: Interactions, word: str) -> str:
    method = word.lower().replace("_", "-")
    method = _ALIASES.get(method, method)
    if method not in METHODS:
        raise UsageError(f"split {word!r} is none of {', '.join(METHODS)}.{nearest(method, METHODS)}")
    if method != "auto":
        return method
    if log.part is not None and (log.part > 0).any():
        return "given"
    if "target" in log.facts:
        return "loo"
    return "temporal" if log.timestamp is not None else "ratio"


def _shares(ratios: Sequence[float]) -> tuple[float, float, float]:
    shares = tuple(float(one) for one in ratios)
    if len(shares) == 2:
        shares = (shares[0], 0.0, shares[1])
    if len(shares) != 3 or not all(np.isfinite(one) and one >= 0 for one in shares) or sum(shares) <= 0:
        raise UsageError(f"ratios are {list(ratios)}, wanted (train, valid, test) or (train, test), none negative")
    total = sum(shares)
    return tuple(one / total for one in shares)


def _given(log: Interactions) -> np.ndarray:
    if log.part is None:
        raise DataError(
            "found no split column and no files by part, wanted one for the given split; choose another split",
            file=log.facts.get("name") or None,
        )
    return log.part.copy()


def _shuffle(log: Interactions, name: str, seed: int) -> np.ndarray:
    """A keyed random rank for every row: ``int64[n]``, a permutation."""
    return shuffled(torch.arange(len(log)), len(log), derive(name, seed=seed)).numpy()


def _places(user: np.ndarray, by: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row's rank (from 0) among its user's rows sorted by ``by`` (stable), and the user's count."""
    order = np.lexsort((by, user))
    counts = np.bincount(user)
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(user), dtype=np.int64)
    rank[order] = np.arange(len(user)) - starts[user[order]]
    return rank, counts[user]


def _sizes(n: np.ndarray, shares: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """How many rows of users with ``n`` rows go to valid and test."""
    valid, test = (np.floor(n * share + 1e-9).astype(np.int64) for share in shares[1:])
    test += (test == 0) & (shares[2] > 0) & (n - valid - test > 1)
    valid += (valid == 0) & (shares[1] > 0) & (n - valid - test > 1)
    over = np.maximum(valid + test - (n - 1), 0)  # train keeps one
    cut = np.minimum(over, valid)
    return valid - cut, test - (over - cut)


def _ratio(user: np.ndarray, shares: Sequence[float], key: np.ndarray) -> np.ndarray:
    rank, n = _places(user, key)
    valid, test = _sizes(n, shares)
    return np.where(rank < test, 2, np.where(rank < test + valid, 1, 0)).astype(np.int8)


def _leave_one_out(log: Interactions) -> tuple[np.ndarray, int]:
    time = np.zeros(len(log)) if log.timestamp is None else log.timestamp
    rank, n = _places(log.user, time)
    part = np.where(rank == n - 1, 2, np.where(rank == n - 2, 1, 0)).astype(np.int8)
    part[n < 3] = 0
    return part, len(np.unique(log.user[n < 3]))


def _judged_only(
    log: Interactions, aside: SourceRows | None, min_train: int, *, needs_source: bool, without_last: bool
) -> tuple[np.ndarray, dict]:
    """Leave-one-out of the users that can be judged; the rows of others are in no part, ``-1``."""
    n_users = len(log.users)
    when = np.arange(len(log)) if log.timestamp is None else log.timestamp
    if aside is not None:
        when, source = aside.moments(log.timestamp, order="time")
    rank, n = _places(log.user, when)
    short = np.bincount(log.user, minlength=n_users) < min_train + 2  # [U]
    told = {"min_train": min_train}
    lacking = np.zeros(n_users, dtype=bool)
    if aside is not None:
        first, last = np.full(n_users, np.iinfo(np.int64).max), np.full(n_users, -1)
        np.minimum.at(first, aside.user, source)
        np.maximum.at(last, log.user, when)
        lacking = first > last
        told |= {"needs_source": needs_source, "users_without_earlier_source": int(lacking.sum())}
    out = short | (lacking & needs_source)
    if without_last:
        out[-1] = True
        told["without_user"] = log.users[-1]
    if out.all():
        also = f", {lacking.sum():,} no source row before their last row" if needs_source and lacking.any() else ""
        raise DataError(
            f"none of {n_users:,} users can be judged: {short.sum():,} have under {min_train + 2} rows{also}; lower "
            "data.split.min_train, or choose another split",
            file=log.facts.get("name") or None,
        )
    told |= {"users_too_short": int(short.sum()), "users_left_out": int(out.sum()), "users_judged": int((~out).sum())}
    part = np.where(rank == n - 1, 2, np.where(rank == n - 2, 1, 0)).astype(np.int8)
    part[out[log.user]] = -1
    return part, told


def _temporal(log: Interactions, shares: Sequence[float]) -> tuple[np.ndarray, list[float | None]]:
    if log.timestamp is None:
        raise DataError(
            "found no timestamp column, wanted one for the temporal split; choose ratio or loo",
            file=log.facts.get("name") or None,
        )
    ordered = np.sort(log.timestamp)
    part = np.zeros(len(log), dtype=np.int8)
    cuts: list[float | None] = []
    for at, share in ((1, shares[0]), (2, shares[0] + shares[1])):
        place = int(np.floor(len(log) * share + 0.5))
        cut = float(ordered[place]) if place < len(log) else None
        if cut is not None:
            part[log.timestamp >= cut] = at
        cuts.append(cut)
    return part, cuts


def _kfold(log: Interactions, *, folds: int, fold: int, seed: int) -> np.ndarray:
    if folds < 2 or not 0 <= fold < folds:
        raise UsageError(f"fold {fold} of {folds} folds, wanted at least 2 folds and a fold from 0 to below them")
    rank, _ = _places(log.user, _shuffle(log, "split kfold", seed))
    first = shuffled(torch.arange(len(log.users)), len(log.users), derive("split kfold start", seed=seed)).numpy()
    return np.where((rank + first[log.user]) % folds == fold, 2, 0).astype(np.int8)


def _carved(log: Interactions, part: np.ndarray, share: float, seed: int) -> np.ndarray:
    if (part == 1).any():
        raise UsageError("valid_from_train: the split has valid rows already; leave it at 0")
    train = np.flatnonzero(part == 0)
    key = _shuffle(log, "split valid", seed)[train]
    part = part.copy()
    part[train[_ratio(log.user[train], (1 - share, share, 0.0), key) == 1]] = 1
    return part
