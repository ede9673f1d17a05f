"""The index against a set of pairs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from negsieve.seen import Seen

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=40)


@given(PAIRS)
def test_everything_equals_a_set_of_pairs(pairs):
    truth = set(pairs)
    user, item = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    seen = Seen(user, item, n_users=7, n_items=10)
    assert len(seen) == len(truth)
    grid = torch.arange(10).expand(7, 10)
    assert seen.contains(torch.arange(7), grid).tolist() == [[(u, i) in truth for i in range(10)] for u in range(7)]
    assert seen.contains(torch.arange(7), grid[:1]).tolist() == seen.contains(torch.arange(7), grid).tolist()
    assert seen.degree().tolist() == [sum(u == one for u, _ in truth) for one in range(7)]
    assert seen.popularity().tolist() == [sum(i == one for _, i in truth) for one in range(10)]
    ask = torch.tensor([3, 0, 3])
    row, found = seen.of(ask)
    assert list(zip(row.tolist(), found.tolist(), strict=True)) == [
        (place, i) for place, u in enumerate(ask.tolist()) for i in range(10) if (u, i) in truth
    ]


def test_ids_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"item ids run 0\.\.10, wanted 0\.\.9"):
        Seen([0, 1], [0, 10], n_users=2, n_items=10)
    with pytest.raises(ValueError, match="2 users beside 1 items"):
        Seen([0, 1], [0], n_users=2, n_items=10)


@pytest.mark.parametrize(("n_users", "n_items"), [(0, 0), (0, 4), (3, 0)])
def test_an_index_of_nobody_or_nothing(n_users, n_items):
    seen = Seen([], [], n_users=n_users, n_items=n_items)
    found = seen.contains(torch.arange(n_users), torch.zeros((n_users, 2), dtype=torch.long))
    assert found.shape == (n_users, 2) and not found.any() and len(seen) == 0


def test_it_stays_out_of_checkpoints():
    assert not Seen([0], [1], n_users=2, n_items=3).state_dict()


def test_who_asks_for_train_gets_an_index_that_moves_alone_and_shares_the_arrays(small):
    one, other = small.seen("train"), small.seen("train")
    assert one is not other and one.packed.data_ptr() == other.packed.data_ptr() == small.train.packed.data_ptr()
    assert one.rows == small.train.rows and (one.part, one.oracle) == ("train", False)
    one.to("meta")
    assert one.packed.is_meta and not other.packed.is_meta and not small.train.packed.is_meta
