import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from negsieve.errors import UsageError
from negsieve.evaluation import sampled


@given(seed=st.integers(0, 10**6), n=st.integers(1, 14), part=st.sampled_from(["valid", "test"]))
def test_no_candidate_is_the_users_own_and_none_repeats(seed, n, part, random_case, dataset_of):
    parts, _ = random_case(seed)
    chosen = sampled.candidates(dataset_of(parts), part, n_negatives=n, seed=seed)
    user, item = np.nonzero(parts == (1 if part == "valid" else 2))
    assert chosen["user"].tolist() == user.tolist() and chosen["item"].tolist() == item.tolist()
    for u, row in zip(user, chosen["negatives"], strict=True):
        free = set(np.flatnonzero(parts[u] < 0).tolist())
        drawn = row[row >= 0].tolist()
        assert drawn == sorted(set(drawn)) and set(drawn) <= free
        assert len(drawn) == min(n, len(free)) and (row[len(drawn) :] == -1).all()


def test_every_set_of_unseen_items_is_equally_likely(dataset_of):
    # 6000 users, each with item 1 in train, 4 in valid, 0 in test: two of 2, 3, 5, 6 are drawn
    parts = np.tile(np.array([2, 0, -1, -1, 1, -1, -1]), (6000, 1))
    chosen = sampled.candidates(dataset_of(parts), "test", n_negatives=2, seed=1)["negatives"]
    sets = list(itertools.combinations([2, 3, 5, 6], 2))
    count = [int((chosen == one).all(1).sum()) for one in sets]
    assert sum(count) == 6000 and stats.chisquare(count).pvalue > 1e-4


def test_distinct_is_uniform_for_every_bound():
    rng = np.random.default_rng(0)
    drawn = sampled.distinct(np.full(20_000, 6), 3, rng)
    sets = list(itertools.combinations(range(6), 3))
    assert stats.chisquare([int((drawn == one).all(1).sum()) for one in sets]).pvalue > 1e-4
    assert sampled.distinct(np.array([0, 1, 3]), 3, rng).tolist() == [[-1, -1, -1], [0, -1, -1], [0, 1, 2]]


def test_a_seed_fixes_the_draw_and_another_changes_it(random_case, dataset_of):
    data = dataset_of(random_case(5, users=40, items=60)[0])
    one, same, other = (sampled.candidates(data, "test", n_negatives=5, seed=s)["negatives"] for s in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_damaged_candidates_are_refused(dataset_of):
    data = dataset_of([[0, 2, -1, -1]])
    chosen = sampled.candidates(data, "test", n_negatives=2)
    sampled.check(chosen, data.test)
    with pytest.raises(UsageError, match="lack negatives"):
        sampled.check({name: value for name, value in chosen.items() if name != "negatives"}, data.test)
    with pytest.raises(UsageError, match=r"outside 0\.\.3"):
        sampled.check(chosen | {"negatives": np.array([[2, 4]])}, data.test)
    with pytest.raises(UsageError, match="another split"):
        sampled.check(chosen | {"item": np.array([2])}, data.test)


def test_bad_arguments_say_what_is_wanted(dataset_of):
    data = dataset_of([[0, 2, -1, -1]])
    with pytest.raises(UsageError, match="'valid' or 'test'"):
        sampled.candidates(data, "train")
    with pytest.raises(UsageError, match="n_negatives=0"):
        sampled.candidates(data, "test", n_negatives=0)
