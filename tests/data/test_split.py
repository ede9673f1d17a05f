"""The laws of every split: disjoint, exhaustive, leak-free in time, the same again, minima a user."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negsieve.data.interactions import Interactions
from negsieve.data.split import split
from negsieve.data.vocabulary import Vocabulary
from negsieve.errors import DataError, UsageError


def log_of(users, *, times=None, part=None):
    users = np.asarray(users)
    _, user = np.unique(users, return_inverse=True)
    n = len(user)
    return Interactions(
        user=user,
        item=np.arange(n),
        users=Vocabulary(map(str, range(user.max() + 1)), kind="user"),
        items=Vocabulary(map(str, range(n)), kind="item"),
        timestamp=None if times is None else np.asarray(times, dtype=float),
        part=None if part is None else np.asarray(part, dtype=np.int8),
    )


USERS = st.lists(st.integers(0, 4), min_size=1, max_size=60)
TIMED = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=60)


@settings(max_examples=100, deadline=None)
@given(USERS, st.integers(0, 5), st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.0, 0.5, 0.5), (0.8, 0.2)]))
def test_ratio(users, seed, ratios):
    log = log_of(users)
    data = split(log, "ratio", ratios=ratios, seed=seed)
    assert set(data.part) <= {0, 1, 2} and len(data.part) == len(log)
    assert (split(log, "RS", ratios=ratios, seed=seed).part == data.part).all()
    valid, test = (0.0, ratios[1]) if len(ratios) == 2 else ratios[1:]
    for user in range(len(log.users)):
        own = data.part[log.user == user]
        assert (own == 0).sum() >= 1
        if len(own) * min(share for share in (valid, test, 1 - valid - test) if share) >= 1:
            assert abs((own == 1).sum() - valid * len(own)) <= 1 and abs((own == 2).sum() - test * len(own)) <= 1
        if test and len(own) > 1:
            assert (own == 2).sum() >= 1
        if not valid:
            assert (own == 1).sum() == 0


def test_ratio_is_recboles_rule_on_small_users():
    for n, wanted in {1: [1, 0, 0], 2: [1, 0, 1], 3: [1, 1, 1], 5: [3, 1, 1], 10: [8, 1, 1], 25: [21, 2, 2]}.items():
        part = split(log_of([0] * n), "ratio").part
        assert [(part == at).sum() for at in (0, 1, 2)] == wanted


def test_ratio_is_random_and_its_seed_matters():
    log = log_of([0] * 1000 + [1] * 1000)
    one, two = split(log, "ratio", seed=1), split(log, "ratio", seed=2)
    assert (one.part != two.part).any()
    place = np.flatnonzero(one.part[:1000] == 2)
    assert len(place) == 100 and 350 < place.mean() < 650


@settings(max_examples=100, deadline=None)
@given(TIMED)
def test_leave_one_out(rows):
    log = log_of([user for user, _ in rows], times=[time for _, time in rows])
    data = split(log, "loo")
    whole = 0
    for user in range(len(log.users)):
        own = np.flatnonzero(log.user == user)
        order = own[np.argsort(log.timestamp[own], kind="stable")]
        wanted = np.zeros(len(own))
        if len(own) >= 3:
            wanted[-2:] = 1, 2
        whole += len(own) < 3
        assert data.part[order].tolist() == wanted.tolist()
    assert data.split["users_kept_whole"] == whole


def test_leave_one_out_goes_by_rows_without_times():
    assert split(log_of([0, 1, 0, 0, 1]), "LS").part.tolist() == [0, 0, 1, 2, 0]


@settings(max_examples=100, deadline=None)
@given(TIMED)
def test_temporal_never_leaks(rows):
    log = log_of([user for user, _ in rows], times=[time for _, time in rows])
    try:
        data = split(log, "TO")
    except DataError:
        assert (log.timestamp == log.timestamp[0]).sum() > 0.5 * 0.8 * len(rows)
        return
    times = [log.timestamp[data.part == at] for at in (0, 1, 2)]
    for early, late in ((0, 1), (1, 2), (0, 2)):
        assert not len(times[early]) or not len(times[late]) or times[early].max() < times[late].min()


def test_temporal_cuts_at_the_quantiles():
    data = split(log_of([0] * 100, times=range(100)), "temporal")
    assert data.split["cuts"] == [80.0, 90.0] and (data.split["train"], data.split["valid"]) == (80, 10)
    assert split(log_of([0] * 4, times=range(4)), "temporal", ratios=(1, 0, 0)).split["cuts"] == [None, None]


@settings(max_examples=60, deadline=None)
@given(USERS, st.integers(2, 5))
def test_kfold_deals_every_row_once(users, folds):
    log = log_of([*users, 9, 9, 9])
    tested = np.zeros(len(log), dtype=int)
    for fold in range(folds):
        try:
            data = split(log, "kfold", folds=folds, fold=fold)
        except DataError:
            continue
        tested += data.part == 2
        for user in range(len(log.users)):
            own = (data.part == 2)[log.user == user]
            assert len(own) // folds <= own.sum() <= -(-len(own) // folds)
    assert (tested <= 1).all() and tested.sum() >= len(log) - len(log) // folds - 1


def test_given_and_a_valid_part_carved_out_of_train():
    part = [0] * 20 + [2] * 5
    log = log_of([0] * 10 + [1] * 15, part=part)
    assert split(log, "given").part.tolist() == part
    data = split(log, "given", valid_from_train=0.1)
    assert [(data.part[:10] == 1).sum(), (data.part[10:20] == 1).sum()] == [1, 1]
    assert (data.part[20:] == 2).all() and data.split["valid_from_train"] == 0.1
    with pytest.raises(UsageError, match="valid rows already"):
        split(log_of([0] * 4, part=[0, 0, 1, 2]), "given", valid_from_train=0.1)


def test_auto_takes_what_there_is():
    assert split(log_of([0] * 9)).split["method"] == "ratio"
    assert split(log_of([0] * 9, times=range(9))).split["method"] == "temporal"
    assert split(log_of([0] * 3, times=range(3), part=[0, 0, 2])).split["method"] == "given"
    assert split(log_of([0] * 9, times=range(9), part=[0] * 9)).split["method"] == "temporal"
    assert split(log_of([0, 0]), "none").part.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("method", "arguments", "fault", "words"),
    [
        ("temporel", {}, UsageError, "Did you mean 'temporal'"),
        ("given", {}, DataError, "found no split column"),
        ("temporal", {}, DataError, "found no timestamp column"),
        ("ratio", {"ratios": (1, -1, 1)}, UsageError, "none negative"),
        ("ratio", {"ratios": (0, 0, 0)}, UsageError, "ratios are"),
        ("kfold", {"fold": 5}, UsageError, "fold 5 of 5"),
        ("ratio", {"valid_from_train": 1.0}, UsageError, "valid_from_train is 1.0"),
    ],
)
def test_what_cannot_be_split(method, arguments, fault, words):
    with pytest.raises(fault, match=words):
        split(log_of([0, 0]), method, **arguments)


def test_an_empty_train_part_is_refused():
    with pytest.raises(DataError, match="nothing in train"):
        split(log_of([0, 0], part=[2, 2]), "given")
    with pytest.raises(DataError, match="nothing in train"):
        split(log_of([0] * 9, times=[5] * 9), "temporal")
