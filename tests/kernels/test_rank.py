"""The best of scores and of dot products: kernel and twin agree, ties are settled, nothing excluded slips in."""

import numpy as np
import pytest
import torch

from negsieve.kernels import native, rank

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")


def whole(shape, levels, seed):
    """Small whole numbers, whose sums are exact in any order: every path sees the same scores."""
    return torch.from_numpy(np.random.default_rng(seed).integers(-levels, levels + 1, size=shape).astype(np.float32))


def exclusions(users, items, share, seed):
    """offset, excluded of random sets; the first user has none, the second everything."""
    out = np.random.default_rng(seed).random((users, items)) < share
    out[:1], out[1:2] = False, True
    row, item = np.nonzero(out)
    offset = np.concatenate([[0], np.bincount(row, minlength=users).cumsum()])
    return torch.from_numpy(offset.astype(np.int64)), torch.from_numpy(item.astype(np.int64))


def both(query, table, k, offset, excluded, allowed=None):
    catalogue = rank.lay_out(table, allowed=allowed)
    assert catalogue.panels is not None
    sides = {"offset": offset, "excluded": excluded}
    return rank.top_dots(query, catalogue, k, **sides), rank.top_dots_reference(query, catalogue, k, **sides)


def same(one, other):
    assert all(torch.equal(left, right) for left, right in zip(one, other, strict=True))


@compiled
@pytest.mark.parametrize("width", [1, 3, 32, 33, 64, 65, 100, 200])
@pytest.mark.parametrize(("items", "k"), [(1, 1), (17, 4), (300, 20), (2600, 50)])
def test_the_best_dot_products_are_the_twins(width, items, k):
    query, table = whole((23, width), 2, width), whole((items, width), 2, items)
    same(*both(query, table, k, *exclusions(23, items, 0.1, width)))


@compiled
@pytest.mark.parametrize("k", [1, 7, 100, 1000, 2600, 4000])
def test_a_list_may_be_longer_than_the_items_that_are_left(k):
    query, table = whole((9, 8), 9, 1), whole((2600, 8), 9, 2)
    same(*both(query, table, k, *exclusions(9, 2600, 0.5, 3)))


@compiled
@pytest.mark.parametrize("items", [1, 47, 48, 49, 300])
def test_a_table_is_laid_out_a_stretch_at_a_time_as_in_one_go(items, monkeypatch):
    table, allowed = torch.randn(items, 8, generator=torch.Generator().manual_seed(items)), torch.arange(items) % 7 > 0
    whole = [rank.lay_out(table, allowed=one).panels for one in (None, allowed)]
    monkeypatch.setattr(rank, "_LAID", 3 * native.module().panel)
    for one, wanted in zip((None, allowed), whole, strict=True):
        found = rank.lay_out(table, allowed=one).panels
        assert all(torch.equal(getattr(found, name), getattr(wanted, name)) for name in wanted.__slots__)


@compiled
@pytest.mark.parametrize("k", [3, 600])
def test_items_that_are_not_allowed_never_appear(k):
    query, table = whole((31, 16), 3, 4), whole((5000, 16), 3, 5)
    allowed = torch.from_numpy(np.random.default_rng(6).random(5000) < 0.7)
    found, twin = both(query, table, k, *exclusions(31, 5000, 0.05, 7), allowed=allowed)
    same(found, twin)
    assert allowed[found[0][found[0] >= 0]].all()
    same(*both(query, table, k, *exclusions(31, 5000, 0.05, 7), allowed=torch.zeros(5000, dtype=torch.bool)))


@compiled
def test_everything_tied_lists_the_lowest_numbers():
    found, twin = both(torch.ones(8, 4), torch.zeros(3000, 4), 7, *exclusions(8, 3000, 0.0, 8))
    same(found, twin)
    assert (found[0][2:] == torch.arange(7)).all() and (found[0][1] == -1).all()
    same(
        *both(
            torch.tensor([[-1.0]]), torch.tensor([[0.0], [-0.0], [0.0]]), 2, torch.tensor([0, 0]), torch.empty(0).long()
        )
    )


@compiled
@pytest.mark.parametrize("order", [1, -1])
def test_a_wrong_guess_costs_no_place(order):
    # every sampled item scores high and no other: the guessed threshold leaves too few, and they are sought again
    n, k = 8 * rank.SAMPLE, 200
    table = torch.zeros(n, 1)
    table[torch.arange(rank.SAMPLE) * n // rank.SAMPLE] = torch.arange(rank.SAMPLE)[:, None].float()
    query = torch.tensor([[1.0], [0.5], [-1.0]]) * order
    offset, excluded = torch.tensor([0, 0, n // 2, n // 2]), torch.arange(n // 2)
    same(*both(query, table, k, offset, excluded))
    assert torch.equal(
        rank.top_rows((query @ table.T).contiguous(), k)[0], both(query, table, k, offset * 0, excluded[:0])[0][0]
    )


@compiled
def test_infinite_and_missing_scores():
    table = torch.tensor([[torch.inf], [1.0], [-torch.inf], [torch.nan], [2.0]])
    offset, nan = torch.tensor([0, 1, 1]), torch.tensor([3])
    (item, score, broken), twin = both(torch.ones(2, 1), table, 5, offset, nan)
    assert item[0].tolist() == [0, 4, 1, -1, -1] and score[0].tolist() == [torch.inf, 2, 1, -torch.inf, -torch.inf]
    assert broken.tolist() == [False, True] == twin[2].tolist()
    assert torch.equal(item[0], twin[0][0])
    item, score, broken = rank.top_rows(table.T.contiguous(), 2)
    assert broken.tolist() == [True] == rank.top_rows_reference(table.T, 2)[2].tolist()
    late = torch.zeros(1, 5000)
    late[0, 4999] = torch.nan
    assert rank.top_rows(late, 2)[2].tolist() == [True]


@compiled
@pytest.mark.parametrize("levels", [1, 5, 10**6])
@pytest.mark.parametrize(
    ("rows", "n", "k"), [(0, 5, 2), (3, 1, 1), (4, 33, 33), (5, 700, 20), (6, 5000, 1000), (3, 9000, 9)]
)
def test_the_best_of_rows_are_the_twins(levels, rows, n, k):
    score = whole((rows, n), levels, n)
    score[whole((rows, n), 3, k) == 3] = -torch.inf
    same(rank.top_rows(score, k), rank.top_rows_reference(score, k))


@compiled
def test_numbers_of_users_change_no_bit_and_threads_neither():
    generator = torch.Generator().manual_seed(0)
    query, table = (torch.randn(n, 48, generator=generator) for n in (333, 4000))
    offset, excluded = exclusions(333, 4000, 0.02, 9)
    catalogue = rank.lay_out(table)
    wanted = rank.top_dots(query, catalogue, 300, offset=offset, excluded=excluded)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            same(rank.top_dots(query, rank.lay_out(table), 300, offset=offset, excluded=excluded), wanted)
    finally:
        torch.set_num_threads(before)
    one = offset[100:102]
    own = rank.top_dots(query[100:101], catalogue, 300, offset=one - one[0], excluded=excluded[one[0] : one[1]])
    same(own, [side[100:101] for side in wanted])
    exact = query.double() @ table.double().T
    item, score, _ = wanted
    assert torch.allclose(score[2:].double(), exact.gather(1, item.clamp_min(0))[2:], rtol=1e-5, atol=1e-5)


@compiled
def test_other_precisions_and_no_users_are_served_by_the_twin():
    query, table = whole((4, 5), 3, 1), whole((30, 5), 3, 2)
    offset, excluded = exclusions(4, 30, 0.2, 3)
    double = rank.lay_out(table.double())
    assert double.panels is None
    item, score, _ = rank.top_dots(query.double(), double, 6, offset=offset, excluded=excluded)
    assert score.dtype == torch.float64
    single = rank.top_dots(query, rank.lay_out(table), 6, offset=offset, excluded=excluded)
    assert torch.equal(single[0], item)
    item, score, broken = rank.top_dots(query[:0], rank.lay_out(table), 6, offset=offset[:1], excluded=excluded[:0])
    assert item.shape == score.shape == (0, 6) and broken.shape == (0,)


@pytest.mark.parametrize(
    ("offset", "excluded"),
    [([0, 1], [0]), ([0, 1, 1], [3]), ([0, 1, 1], [-1]), ([0, 1, 1], [0, 1])],
    ids=["rows", "above", "below", "span"],
)
def test_sides_that_disagree_are_refused(offset, excluded):
    query, catalogue = torch.ones(2, 4), rank.lay_out(torch.ones(3, 4))
    sides = {"offset": torch.tensor(offset), "excluded": torch.tensor(excluded)}
    for serve in (rank.top_dots, rank.top_dots_reference):
        with pytest.raises(ValueError, match="top_dots"):
            serve(query, catalogue, 2, **sides)


@compiled
@pytest.mark.parametrize("k", [1, 10, 100])
def test_items_too_short_to_matter_are_spared_and_none_that_matters(k):
    # powers of two keep every sum exact; parallel vectors reach the very bound by which items are spared
    rng = np.random.default_rng(k)
    direction = rng.integers(-1, 2, size=(6, 16)).astype(np.float32)
    length = np.exp2(rng.integers(-8, 9, size=(6000, 1))).astype(np.float32)
    table = torch.from_numpy(direction[rng.integers(0, 6, size=6000)] * length)
    query = torch.from_numpy(direction[rng.integers(0, 6, size=50)] * np.float32(0.5))
    query[7] = 0
    same(*both(query, table, k, *exclusions(50, 6000, 0.01, k)))


@compiled
def test_a_broken_item_is_seen_however_it_is_laid_out():
    table = torch.randn(6000, 8, generator=torch.Generator().manual_seed(1))
    table[4321, 3] = torch.nan
    offset, excluded = torch.tensor([0, 0, 1]), torch.tensor([4321])
    broken = rank.top_dots(torch.ones(2, 8), rank.lay_out(table), 5, offset=offset, excluded=excluded)[2]
    assert broken.tolist() == [True, False]


@compiled
def test_excluded_items_may_stand_in_any_order_and_twice():
    query, table = whole((2, 4), 2, 1), whole((50, 4), 2, 2)
    same(*both(query, table, 9, torch.tensor([0, 5, 6]), torch.tensor([9, 3, 9, 40, 3, 0])))


@compiled
def test_a_kernel_reads_only_what_fits():
    catalogue = rank.lay_out(torch.ones(3, 4))
    sides = {"offset": torch.tensor([0, 0]), "excluded": torch.tensor([], dtype=torch.long)}
    with pytest.raises(ValueError, match="width"):
        rank.top_dots(torch.ones(1, 5), catalogue, 2, **sides)
