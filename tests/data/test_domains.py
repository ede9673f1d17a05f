"""Domains: what is the catalogue, what stands beside it, and what is known when something is judged."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from negsieve.data.dataset import PARTS, Dataset
from negsieve.data.domains import take_apart
from negsieve.data.read import read
from negsieve.errors import DataError, UsageError


def log(rows, *, times=None):
    """``rows``: (user, item, domain) texts."""
    user, item, domain = zip(*rows, strict=True)
    columns = {"user_id": user, "item_id": item, "domain": domain}
    if times is not None:
        columns["timestamp"] = times
    return read(pa.table({name: list(side) for name, side in columns.items()}), item_ids="apart")


def random_log(seed=0, *, n=400, times=True):
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, 30, n), rng.integers(0, 25, n)
    domain = rng.choice(["toy", "game", "book"], n)
    rows = [(f"u{u}", f"{d[0]}{i}", d) for u, i, d in zip(user, item, domain, strict=True)]
    return log(list(dict.fromkeys(rows)), times=None if not times else rng.integers(0, 20, len(set(rows))).tolist())


def random_dataset(seed=0, *, times=True, sources=("game", "book")):
    mine, beside = take_apart(random_log(seed, times=times), "toy", sources=sources)
    part = np.random.default_rng(seed + 1).choice([0, 0, 0, 1, 2, -1], len(mine)).astype(np.int8)
    return Dataset("random", mine, part, aside=beside)


def walk(dataset, order, known):
    """Brute force: each user's merged list, walked from its start."""
    data, beside = dataset.interactions, dataset.aside
    merged = {user: [] for user in range(dataset.n_users)}
    for kind, user, row, time in (
        ("target", data.user, beside.target, data.timestamp),
        ("source", beside.user, beside.row, beside.timestamp),
    ):
        for at in range(len(user)):
            moment = (time[at], row[at]) if order == "time" else (row[at],)
            merged[user[at]].append((moment, kind, at))
    before, last = {}, {}
    for user, entries in merged.items():
        entries.sort()
        latest, judged = None, False
        for _, kind, at in entries:
            if kind == "source":
                latest = at
                continue
            word = PARTS[data_part] if (data_part := int(dataset.part[at])) >= 0 else None
            if word in known:
                before[at] = latest
            elif word is not None and not judged:
                judged, last[user] = True, latest
        if not judged:
            last[user] = latest
    return before, last


@pytest.mark.parametrize("known", [("train",), ("train", "valid"), PARTS])
@pytest.mark.parametrize(("order", "times"), [("time", True), ("given", True), ("given", False)])
@pytest.mark.parametrize("seed", range(3))
def test_what_came_before_equals_a_walk_of_the_merged_lists(known, order, times, seed):
    dataset = random_dataset(seed, times=times)
    aside = dataset.asides(*known, order=order)
    before, last = walk(dataset, order, known)
    item = dataset.aside.item
    wanted = [-1 if before[row] is None else item[before[row]] for row in dataset.rows(*known)]
    assert [-1 if at < 0 else int(aside.source.item[at]) for at in aside.before.tolist()] == wanted
    latest = aside.latest(torch.arange(dataset.n_users)).tolist()
    assert [-1 if at < 0 else int(aside.source.item[at]) for at in latest] == [
        -1 if last[user] is None else item[last[user]] for user in range(dataset.n_users)
    ]
    owner = torch.repeat_interleave(torch.arange(dataset.n_users), aside.source.offset.diff())
    rows = torch.from_numpy(dataset.interactions.user[dataset.rows(*known)])
    found = aside.before >= 0
    assert (owner[aside.before[found]] == rows[found]).all(), "a place belongs to the row's own user"


def test_nothing_after_what_is_judged_or_trained_on_is_there():
    mine, beside = take_apart(
        log([("a", f"{d}{n}", d) for n, d in enumerate(["t", "s", "t", "s", "t", "s", "t", "s"])]), "t", sources=["s"]
    )
    dataset = Dataset("one", mine, np.array([0, 0, 1, 2], dtype=np.int8), aside=beside)
    sizes = [len(dataset.asides(*known, order="given").source) for known in (("train",), ("train", "valid"), PARTS)]
    assert sizes == [2, 3, 4]
    aside = dataset.asides("train", order="given")
    assert aside.before.tolist() == [-1, 0] and aside.last.tolist() == [1] and aside.n_items == 4


def test_the_catalogue_is_the_targets_and_sources_have_numbers_of_their_own():
    rows = [("a", "1", "toy"), ("b", "2", "game"), ("a", "2", "game"), ("a", "9", "book"), ("a", "2", "toy")]
    mine, beside = take_apart(log(rows), "toy", sources=["book", "game"])
    assert list(mine.users) == ["a"] and list(mine.items) == ["1", "2"] and mine.domain is None
    assert beside.domains == ("book", "game") and beside.offset == [0, 1, 2] and list(beside.items[1]) == ["2"]
    assert beside.user.tolist() == [0, 0] and beside.item.tolist() == [1, 0]
    assert beside.row.tolist() == [2, 3] and beside.target.tolist() == [0, 4]
    told = mine.facts["target"]
    assert told["domain"] == "toy" and told["source_rows"] == 2 and told["rows_left_out"] == 1


def test_a_domain_that_cannot_be_is_said():
    whole = log([("a", "1", "toy"), ("a", "2", "game"), ("b", "3", "book")])
    with pytest.raises(UsageError, match=r"no domain 'toys' in the data; found 'toy', 'game', 'book'.*'toy'"):
        take_apart(whole, "toys")
    with pytest.raises(UsageError, match="'toy' is both target and source"):
        take_apart(whole, "toy", sources=["game", "toy"])
    with pytest.raises(UsageError, match="'game' is named twice"):
        take_apart(whole, "toy", sources=["game", "game"])
    with pytest.raises(DataError, match="'toy' and 'book' share no user"):
        take_apart(whole, "toy", sources=["book"])
    with pytest.raises(DataError, match="no domain column"):
        take_apart(replace(whole, domain=None, domains=()), "toy")
