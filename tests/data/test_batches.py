"""An epoch's batches: each row once, the same from any step on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from negsieve.data.batches import batches, n_batches
from negsieve.types import Groups


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


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=40),
    st.integers(1, 60),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 9),
)
def test_groups_are_visited_whole_and_the_same_from_any_step(lengths, size, seed, epoch, start):
    offset = torch.tensor([0, *lengths]).cumsum(0)
    groups, total = Groups(torch.randperm(int(offset[-1])) + 7, offset), int(offset[-1])
    whole = list(batches(total + 9, size=size, seed=seed, epoch=epoch, groups=groups))
    assert [step for step, _ in whole] == list(range(n_batches(total + 9, size, groups=groups)))
    assert torch.equal(torch.cat([rows for _, rows in whole]).sort().values, groups.row.sort().values)
    owner = dict(
        zip(
            groups.row.tolist(), torch.repeat_interleave(torch.arange(len(groups)), offset.diff()).tolist(), strict=True
        )
    )
    met = [{owner[row] for row in rows.tolist()} for _, rows in whole]
    assert all(met) and sum(map(len, met)) == len(groups)  # no step is empty, no group is cut
    assert all(len(rows) <= max(size, max(lengths)) + max(lengths) for _, rows in whole)
    late = list(batches(total, size=size, seed=seed, epoch=epoch, start=start, groups=groups))
    assert [step for step, _ in late] == [step for step, _ in whole[start:]]
    assert all(torch.equal(one, two) for (_, one), (_, two) in zip(late, whole[start:], strict=True))


def test_no_groups_make_no_batches():
    groups = Groups(torch.empty(0, dtype=torch.long), torch.zeros(1, dtype=torch.long))
    assert n_batches(5, 2, groups=groups) == 0 and not list(batches(5, size=2, seed=0, epoch=0, groups=groups))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(next(batches(100, size=100, seed=s, epoch=e))[1].tolist()) for s in (0, 1) for e in (0, 1)}
    assert len(orders) == 4


def test_a_size_of_nothing_is_refused():
    with pytest.raises(ValueError, match="batch size is 0"):
        n_batches(5, 0)
