"""The tally equals sets and loops, compiled and in torch, for any number of threads."""

import pytest
import torch

from negsieve.kernels import native
from negsieve.kernels.tally import tally, tally_reference
from negsieve.rng import streams
from negsieve.seen import Seen

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")
USERS, ITEMS = 40, 300


def pairs(n: int) -> Seen:
    rng = streams("pairs", n)
    user, item = torch.randint(USERS, (n,), generator=rng), torch.randint(ITEMS, (n,), generator=rng)
    return Seen(user, item, n_users=USERS, n_items=ITEMS)


def drawn(rows: int, many: int):
    rng = streams("drawn", rows, many)
    return torch.randint(USERS, (rows,), generator=rng), torch.randint(ITEMS, (rows, many), generator=rng)


@pytest.mark.parametrize("count_up", [tally, tally_reference])
@pytest.mark.parametrize(("rows", "many"), [(0, 3), (1, 1), (63, 1), (200, 3), (5, 130)])
def test_it_counts_what_a_loop_counts(count_up, rows, many):
    seen, count = pairs(2000), torch.arange(ITEMS) ** 3
    user, item = drawn(rows, many)
    held = set(zip(seen.owner.tolist(), seen.item.tolist(), strict=True))
    found = sum((u, i) in held for u, row in zip(user.tolist(), item.tolist(), strict=True) for i in row)
    covered = torch.zeros(ITEMS, dtype=torch.bool)
    covered[7] = True
    told = count_up(user, item, rows=seen.rows, count=count, covered=covered)
    assert told.tolist() == [found, sum(i**3 for i in item.flatten().tolist())]
    assert set(covered.nonzero().flatten().tolist()) == {7, *item.flatten().tolist()}
    assert count_up(user, item, rows=None, count=count, covered=covered).tolist() == [0, told[1]]


@compiled
def test_kernel_and_twin_agree_on_many_rows_by_any_number_of_threads(threads):
    seen, count = pairs(3000), pairs(3000).popularity()
    user, item = drawn(30_000, 2)
    slow = torch.zeros(ITEMS, dtype=torch.bool)
    wanted = tally_reference(user, item, rows=seen.rows, count=count, covered=slow)
    for many in (1, 2, 4):
        threads(many)
        covered = torch.zeros(ITEMS, dtype=torch.bool)
        assert torch.equal(tally(user, item, rows=seen.rows, count=count, covered=covered), wanted)
        assert torch.equal(covered, slow)


@compiled
@pytest.mark.parametrize(("user", "item"), [(USERS, 0), (-1, 0), (0, ITEMS), (0, -1), (0, 2**40)])
def test_ids_that_are_none_are_refused(user, item):
    covered = torch.zeros(ITEMS, dtype=torch.bool)
    with pytest.raises(IndexError):
        tally(
            torch.tensor([user]),
            torch.tensor([[item]]),
            rows=pairs(50).rows,
            count=torch.ones(ITEMS, dtype=torch.long),
            covered=covered,
        )
