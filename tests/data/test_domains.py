"""Domains: what is the catalogue, what stands beside it, and what is known when something is judged."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from negsieve.config import resolve
from negsieve.data import snapshot
from negsieve.data.dataset import PARTS, Dataset
from negsieve.data.domains import take_apart
from negsieve.data.read import read
from negsieve.data.split import split
from negsieve.data.summary import summary, summary_lines
from negsieve.errors import ConfigError, DataError, UsageError
from negsieve.loading import dataset_of, load_data
from negsieve.review.tryout import fewer_users


def log_table(rows):
    """``rows``: (user, item, domain) texts."""
    return pa.table(dict(zip(("user_id", "item_id", "domain"), map(list, zip(*rows, strict=True)), strict=True)))


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


@pytest.mark.parametrize("times", [True, False])
def test_a_snapshot_holds_the_source_rows_and_the_hash_covers_them(tmp_path, times):
    dataset = random_dataset(times=times)
    snapshot.write(dataset, tmp_path)
    found = snapshot.load(tmp_path)
    assert found.hash == dataset.hash and found.aside.domains == dataset.aside.domains
    assert [list(ids) for ids in found.aside.items] == [list(ids) for ids in dataset.aside.items]
    for name in ("user", "item", "row", "target", "timestamp"):
        one, two = getattr(found.aside, name), getattr(dataset.aside, name)
        assert (one is None and two is None) or (one.dtype == two.dtype and np.array_equal(one, two))
    moved = replace(dataset.aside, item=dataset.aside.item[::-1].copy())
    assert len({dataset.hash, replace(dataset, aside=None).hash, replace(dataset, aside=moved).hash}) == 3
    (tmp_path / "source.parquet").write_bytes(b"altered")
    with pytest.raises(DataError, match=r"source\.parquet: found another SHA-256"):
        snapshot.load(tmp_path)


def test_fewer_users_keep_what_stood_beside_them():
    dataset = random_dataset()
    small = fewer_users(dataset, 5)
    for order in ("time", "given"):
        whole, part = dataset.asides("train", order=order), small.asides("train", order=order)
        of = [dataset.users.numbers([name])[0] for name in small.users]
        rows = np.isin(dataset.interactions.user[dataset.rows("train")], of)
        latest = whole.latest(torch.tensor(of))
        for one, two in ((part.latest(torch.arange(5)), latest), (part.before, whole.before[torch.from_numpy(rows)])):
            assert [int(part.source.item[at]) for at in one if at >= 0] == [
                int(whole.source.item[at]) for at in two if at >= 0
            ]


def eligible(mine, beside, least, needs_source):
    """Brute force, over lists: users who keep ``least`` train rows and have a source row before the test row."""
    found = set()
    for user in range(len(mine.users)):
        own = [
            (when, row) for who, when, row in zip(mine.user, mine.timestamp, beside.target, strict=True) if who == user
        ]
        test = max(own)
        rows = zip(beside.user, beside.timestamp, beside.row, strict=True)
        before = any((when, row) < test for who, when, row in rows if who == user)
        if len(own) - 2 >= least and (before or not needs_source):
            found.add(user)
    return found


@pytest.mark.parametrize(("least", "needs_source"), [(2, True), (1, True), (4, False)])
@pytest.mark.parametrize("seed", range(3))
def test_leave_one_out_judges_who_can_be_judged(least, needs_source, seed):
    mine, beside = take_apart(random_log(seed, n=700), "toy", sources=["game"])
    data = split(mine, "loo", aside=beside, min_train=least, needs_source=needs_source)
    wanted = eligible(mine, beside, least, needs_source)
    for user in range(len(mine.users)):
        own = np.flatnonzero(mine.user == user)
        if user not in wanted:
            assert (data.part[own] == -1).all()
            continue
        ranked = sorted(own, key=lambda row: (mine.timestamp[row], row))
        assert data.part[ranked].tolist() == [0] * (len(own) - 2) + [1, 2]
    assert data.split["users_judged"] == len(wanted) and data.split["users_left_out"] == len(mine.users) - len(wanted)
    assert split(mine, "loo", aside=beside).split["min_train"] == 2, "a target has its own rule"
    assert split(mine, aside=beside).split["method"] == "loo"


def test_nobody_to_judge_is_said():
    mine, beside = take_apart(log([("a", "1", "toy"), ("a", "2", "game"), ("b", "3", "toy")]), "toy", sources=["game"])
    with pytest.raises(DataError, match="none of 2 users can be judged: 2 have under 4 rows, 2 no source row before"):
        split(mine, "loo", aside=beside)


def test_the_last_user_of_the_log_may_be_left_out():
    mine, beside = take_apart(random_log(n=400), "toy", sources=["game"])
    data = split(mine, "loo", aside=beside, drop_last_user=True)
    assert data.split["without_user"] == mine.users[-1]
    assert (data.part[mine.user == len(mine.users) - 1] == -1).all()


def shuffled_table(seed=0):
    """Rows in no order, whose positions say the order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(72)
    return {
        "user_id": [f"u{at // 12}" for at in order],
        "item_id": [f"i{one}" for one in rng.integers(0, 9, 72)],
        "position": [int(at) % 12 for at in order],
        "domain": rng.choice(["toy", "game"], 72).tolist(),
    }


def of_toys(**more):
    return resolve({"data": {"target": "toy", "source_domains": "game", "duplicates": "keep"} | more}).data


def test_positions_are_the_merged_order():
    columns = shuffled_table()
    dataset = load_data(pa.table(columns), config=of_toys())
    lists = {}
    for user, item, place, domain in zip(*columns.values(), strict=True):
        lists.setdefault(user, []).append((place, item, domain))
    for number, user in enumerate(dataset.users):
        merged = sorted(lists[user])
        own = dataset.interactions.user == number
        assert [dataset.items[one] for one in dataset.interactions.item[own]] == [i for _, i, d in merged if d == "toy"]
        theirs = dataset.aside.user == number
        assert [dataset.aside.items[0][one] for one in dataset.aside.item[theirs]] == [
            i for _, i, d in merged if d == "game"
        ]
        row = np.concatenate([dataset.aside.target[own], dataset.aside.row[theirs]])
        kinds = np.array(["toy"] * own.sum() + ["game"] * theirs.sum())[np.argsort(row)]
        assert kinds.tolist() == [d for *_, d in merged]
    assert "position" in dataset.interactions.facts["columns"]
    for order in ("time", "given"):
        assert dataset.histories("train", order=order).item.tolist() == dataset.histories("train").item.tolist()
    unread = load_data(pa.table(columns), config=resolve({}).data)
    assert "position" not in unread.interactions.facts["columns"], "nobody asked for domains"
    with pytest.raises(DataError, match=r"column 'position'|:position:|position.*wanted a finite number"):
        load_data(pa.table(columns | {"position": ["x"] * 72}), config=of_toys())


def test_repeats_may_be_kept_and_ids_of_two_domains_are_two_items():
    columns = {"user_id": ["a"] * 6, "item_id": ["1", "1", "1", "2", "1", "3"]}
    columns |= {"domain": ["toy", "game", "toy", "toy", "game", "toy"], "position": list(range(6))}
    kept = load_data(pa.table(columns), config=of_toys())
    assert len(kept.interactions) == 4 and len(kept.aside) == 2 and kept.n_items == 3
    merged = load_data(pa.table(columns), config=of_toys(duplicates="first", split={"min_train": 1}))
    assert len(merged.interactions) == 3 and len(merged.aside) == 1, "a pair is a pair within its domain"
    assert len(kept.train) == 2 - 1 and len(kept.pairs("train")[0]) == 2, "the index merges, the table does not"


def test_what_cannot_be_configured_is_said():
    with pytest.raises(ConfigError, match=r"data: found .*wanted data\.target beside data\.source_domains=game"):
        resolve({"data": {"source_domains": "game"}})
    dataset = load_data(pa.table(shuffled_table()), config=of_toys())
    config = resolve({"data": {"target": "game", "source_domains": ["toy"]}})
    with pytest.raises(UsageError, match="found a Dataset of toy, wanted target 'game' with source"):
        dataset_of(dataset, config)
    assert dataset_of(dataset, resolve({"data": of_toys().model_dump()})) is dataset
    assert json.dumps(dataset.split)


def test_rows_at_one_time_go_by_position_then_as_they_stand():
    columns = {"user_id": ["a"] * 6, "item_id": list("123456"), "domain": ["toy", "game"] * 3}
    whole = of_toys(split={"method": "none"})
    times = {"timestamp": [1, 1, 1, 2, 2, 2]}
    tied = load_data(pa.table(columns | times), config=whole)
    assert tied.asides("train").before.tolist() == [-1, 0, 1]
    places = {"position": [5, 0, 1, 9, 0, 8]}  # 2 5 3 1 6 4
    placed = load_data(pa.table(columns | times | places), config=whole)
    assert [placed.items[one] for one in placed.histories("train").item] == ["3", "1", "5"]
    assert placed.asides("train").before.tolist() == [0, 0, 0]
    assert [placed.aside.items[0][one] for one in placed.asides("train").source.item] == ["2", "6", "4"]
    still = load_data(pa.table(columns | {"timestamp": [7] * 6} | places), config=whole)
    assert [still.items[one] for one in still.histories("train").item] == ["5", "3", "1"], "one time, but positions"


def test_users_with_one_event_are_in_no_part_and_counted():
    rows = [("a", str(at), "toy" if at % 2 else "game") for at in range(12)] + [("b", "1", "toy"), ("c", "0", "game")]
    dataset = load_data(log_table(rows), config=of_toys())
    assert list(dataset.users) == ["a", "b"] and dataset.split["users_too_short"] == 1
    assert (dataset.part[dataset.interactions.user == 1] == -1).all()
    assert dataset.interactions.facts["target"]["rows_left_out"] == 1, "c has nothing in the target"
    assert dataset.cold_users.tolist() == [False, True] and dataset.n_items == 6
    assert summary(dataset)["target"]["without_source"] == 0 and dict(summary_lines(summary(dataset)))["target"]


def test_explicit_negatives_are_the_targets_own():
    rows = [(user, item, domain) for user in "ab" for item in "123456" for domain in ("toy", "game")]
    columns = log_table(rows).to_pydict() | {"rating": [5] * len(rows), "timestamp": list(range(len(rows)))}
    for at, (user, item, domain) in enumerate(rows):
        if (user, item, domain) in {("a", "1", "toy"), ("a", "2", "game"), ("b", "3", "toy")}:
            columns["rating"][at] = 1
    file = pa.table({"user_id": ["b", "b", "z"], "item_id": ["4", "9", "1"]})
    dataset = load_data(pa.table(columns), config=of_toys(negatives_below=3), negatives=file)
    numbers = zip(dataset.explicit.owner.tolist(), dataset.explicit.item.tolist(), strict=True)
    pairs = {(dataset.users[user], dataset.items[item]) for user, item in numbers}
    assert pairs == {("a", "1"), ("b", "3")}, "what b took in train is no refusal; a refused the game 2, not the toy"
    assert dataset.explicit.n_items == dataset.n_items == 6


def test_a_target_without_a_source_is_a_log_of_its_own():
    dataset = load_data(pa.table(shuffled_table()), config=resolve({"data": {"target": "game"}}).data)
    assert dataset.aside is None and dataset.asides("train") is None and dataset.split["method"] == "loo"
    assert "users_without_earlier_source" not in dataset.split
    assert ("target", "game, without a source") in summary_lines(summary(dataset))


@pytest.mark.parametrize("method", ["temporal", "ratio", "given"])
def test_other_splits_know_the_source_rows_before_the_first_judged_row(method):
    rng = np.random.default_rng(4)
    whole = random_log(4, n=500)
    part = rng.choice([0, 0, 0, 1, 2], len(whole)).astype(np.int8)
    mine, beside = take_apart(replace(whole, part=part), "toy", sources=["game"])
    dataset = split(mine, method, aside=beside)
    for known in (("train",), ("train", "valid")):
        before, last = walk(dataset, "time", known)
        aside, item = dataset.asides(*known), beside.item
        found = [-1 if at < 0 else int(aside.source.item[at]) for at in aside.last.tolist()]
        assert found == [-1 if last[user] is None else item[last[user]] for user in range(dataset.n_users)]
        wanted = [-1 if before[row] is None else item[before[row]] for row in dataset.rows(*known)]
        assert [-1 if at < 0 else int(aside.source.item[at]) for at in aside.before.tolist()] == wanted
