"""Cleaning against brute force: thresholds, dates, repeated pairs, k-core, and the new numbers."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negsieve.data.clean import clean, compact, rules
from negsieve.data.interactions import Interactions
from negsieve.data.read import read
from negsieve.data.vocabulary import Vocabulary
from negsieve.errors import DataError, UsageError

NONE = {"rating_min": None, "duplicates": "first", "core": 0, "since": None, "until": None}
ROWS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(-2, 5), st.integers(0, 4), st.integers(0, 2)),
    min_size=1,
    max_size=40,
)


def log_of(rows, *, times=True, parts=True):
    users, items = (list(dict.fromkeys(f"{kind}{row[at]}" for row in rows)) for at, kind in ((0, "u"), (1, "i")))
    return Interactions(
        user=np.array([users.index(f"u{row[0]}") for row in rows]),
        item=np.array([items.index(f"i{row[1]}") for row in rows]),
        users=Vocabulary(users, kind="user"),
        items=Vocabulary(items, kind="item"),
        rating=np.array([math.nan if row[2] < 0 else row[2] for row in rows], dtype=float),
        timestamp=np.array([row[3] for row in rows], dtype=float) if times else None,
        part=np.array([row[4] for row in rows], dtype=np.int8) if parts else None,
        titles=[f"title of {one}" for one in items],
    )


def ids(log):
    return [(log.users[u], log.items[i]) for u, i in zip(log.user, log.item, strict=True)]


def brute(rows, rule, *, times, parts):
    """The same rules, a row at a time."""
    kept = [(at, *row) for at, row in enumerate(rows)]
    if rule["rating_min"] is not None:
        kept = [row for row in kept if row[3] >= max(rule["rating_min"], 0)]
    if rule["since"] is not None:
        kept = [row for row in kept if row[4] >= rule["since"]]
    if rule["until"] is not None:
        kept = [row for row in kept if row[4] < rule["until"]]
    groups: dict[tuple, list] = {}
    for row in kept:
        groups.setdefault(row[1:3], []).append(row)
    chosen = []
    for group in groups.values():
        if parts:
            earliest = min(row[5] for row in group)
            group = [row for row in group if row[5] == earliest]
        group = sorted(group, key=lambda row: (row[4] if times else 0, row[0]))
        row = group[-1] if rule["duplicates"] == "last" else group[0]
        rated = [one[3] for one in group if one[3] >= 0]
        summed = (sum(rated) if rated else math.nan) if rule["duplicates"] == "sum" else row[3]
        chosen.append((row[0], f"u{row[1]}", f"i{row[2]}", math.nan if summed < 0 else summed))
    by_user, by_item = rule["core"]
    while True:
        users, items = [row[1] for row in chosen], [row[2] for row in chosen]
        left = [row for row in chosen if users.count(row[1]) >= by_user and items.count(row[2]) >= by_item]
        if left == chosen:
            return sorted(chosen)
        chosen = left


@settings(max_examples=150, deadline=None)
@given(
    ROWS,
    st.booleans(),
    st.booleans(),
    st.sampled_from(["first", "last", "sum"]),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.sampled_from([None, 1, 3]),
    st.sampled_from([(None, None), (1, None), (None, 3), (1, 4)]),
)
def test_cleaning_equals_brute_force(rows, times, parts, duplicates, core, rating_min, dates):
    since, until = dates if times else (None, None)
    rule = rules(rating_min=rating_min, duplicates=duplicates, core=core, since=since, until=until)
    wanted = brute(rows, rule, times=times, parts=parts)
    if not wanted:
        with pytest.raises(DataError, match="cleaning leaves nothing"):
            clean(log_of(rows, times=times, parts=parts), rule, source="log")
        return
    log = clean(log_of(rows, times=times, parts=parts), rule, source="log")
    assert ids(log) == [row[1:3] for row in wanted]
    np.testing.assert_array_equal(log.rating, [row[3] for row in wanted])
    assert len(rows) - len(log) == sum(log.facts["dropped"].values())
    assert list(log.users) == list(dict.fromkeys(row[1] for row in wanted))
    assert log.titles == [f"title of {one}" for one in log.items]


def test_core_rounds_are_counted():
    chain = [(0, 0, 1, 0, 0), (0, 1, 1, 0, 0), (1, 1, 1, 0, 0), (1, 2, 1, 0, 0), (2, 2, 1, 0, 0)]
    square = [(5, 7, 1, 0, 0), (5, 8, 1, 0, 0), (6, 7, 1, 0, 0), (6, 8, 1, 0, 0)]
    log = clean(log_of(chain + square), rules(**{**NONE, "core": 2}), source="log")
    assert log.facts["core_rounds"] == 3 and log.facts["dropped"]["core"] == 5 and len(log) == 4


def test_rules_that_need_a_column_say_so():
    bare = Interactions(np.array([0]), np.array([0]), Vocabulary(["u"]), Vocabulary(["i"]))
    for rule, word in (({"rating_min": 1}, "rating"), ({"since": 1}, "timestamp"), ({"duplicates": "sum"}, "rating")):
        with pytest.raises(DataError, match=f"found no {word} column"):
            clean(bare, rules(**{**NONE, **rule}), source="log")


def test_dates_are_read_in_utc():
    said = rules(**{**NONE, "since": "2024-01-01", "until": "2024-01-01T02:00:00+02:00"})
    assert said["since"] == said["until"] == 1704067200.0
    with pytest.raises(UsageError, match="wanted a number or a date"):
        rules(**{**NONE, "since": "soon"})


def test_dates_do_not_cut_times_of_another_unit():
    log = read(pa.table({"user": [1, 1], "item": [1, 2], "ts": [1704067200000, 1706067200000]}))
    with pytest.raises(DataError, match="no seconds since 1970"):
        clean(log, rules(**{**NONE, "since": "2024-01-10"}), source="log")
    assert len(clean(log, rules(**{**NONE, "since": 1705000000000}), source="log")) == 1


def test_cleaning_equals_reading_the_cleaned_file():
    rng = np.random.default_rng(3)
    table = pa.table({"user": rng.integers(0, 30, 400), "item": rng.integers(0, 40, 400), "time": np.arange(400)})
    once = read(table, core=5)
    again = read(pa.table({"user": [u for u, _ in ids(once)], "item": [i for _, i in ids(once)]}))
    assert ids(again) == ids(once) and list(again.users) == list(once.users)
    assert again.user.tolist() == once.user.tolist()


def test_compact_keeps_domains_in_step():
    log = log_of([(0, 0, 1, 0, 0), (1, 1, 1, 0, 0), (2, 2, 1, 0, 0)])
    log = Interactions(**{**vars(log), "domain": np.array([0, 1, 2], dtype=np.int16), "domains": ("a", "b", "c")})
    small = compact(log, np.array([1, 2]))
    assert small.domains == ("b", "c") and small.domain.tolist() == [0, 1] and list(small.users) == ["u1", "u2"]
