"""An epoch's batches: each row once, the same from any step on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from negsieve.data.batches import batches, n_batches


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200), st.integers(1, 50), st.integers(0, 3), st.integers(0, 3), st.booleans(), st.integers(0, 9))
def test_each_row_once_and_the_same_from_any_step(n, size, seed, epoch, drop_last, start):
    whole = list(batches(n, size=size, seed=seed, epoch=epoch, drop_last=drop_last))
    assert [step for step, _ in whole] == list(range(n_batches(n, size, drop_last)))
    rows = torch.cat([rows for _, rows in whole]) if whole else torch.empty(0, dtype=torch.long)
    assert len(rows.unique()) == len(rows) == (n // size * size if drop_last else n)
    late = list(batches(n, size=size, seed=seed, epoch=epoch, drop_last=drop_last, start=start))
    assert [step for step, _ in late] == [step for step, _ in whole[start:]]
    assert all(torch.equal(one, two) for (_, one), (_, two) in zip(late, whole[start:], strict=True))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(next(batches(100, size=100, seed=s, epoch=e))[1].tolist()) for s in (0, 1) for e in (0, 1)}
    assert len(orders) == 4


def test_a_size_of_nothing_is_refused():
    with pytest.raises(ValueError, match="batch size is 0"):
        n_batches(5, 0)
