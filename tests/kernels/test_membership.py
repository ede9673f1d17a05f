"""Membership: kernel and twin against sets, in rows of any length."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from negsieve.kernels import native
from negsieve.kernels.membership import contains, contains_reference, pairs, partition
from negsieve.rng import streams
from negsieve.seen import Seen

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")
DEGREES = [0, 1, 2, 7, 8, 9, 31, 64, 65, 129, 300, 500, 0]
N_ITEMS = 500


def index(degrees=DEGREES, n_items=N_ITEMS) -> Seen:
    rng = streams("rows")
    own = [torch.randperm(n_items, generator=rng)[:many] for many in degrees]
    user = torch.repeat_interleave(torch.arange(len(own)), torch.tensor(degrees))
    return Seen(user, torch.cat(own), n_users=len(own), n_items=n_items)


def truth(seen: Seen, user, item) -> list[list[bool]]:
    held = set(zip(seen.owner.tolist(), seen.item.tolist(), strict=True))
    rows = item.expand(len(user), -1).tolist()
    return [[(u, i) in held for i in row] for u, row in zip(user.tolist(), rows, strict=True)]


@pytest.mark.parametrize("find", [contains, contains_reference])
@pytest.mark.parametrize("many", [1, 3, 33, 500])
def test_rows_of_any_length_answer_as_sets_do(find, many):
    seen, rng = index(), streams("ask", many)
    user = torch.randint(len(DEGREES), (40,), generator=rng)
    for rows in (40, 1):
        item = torch.randint(N_ITEMS, (rows, many), generator=rng)
        assert find(user, item, rows=seen.rows).tolist() == truth(seen, user, item)
    everything = torch.arange(N_ITEMS).expand(len(DEGREES), -1)
    user = torch.arange(len(DEGREES))
    assert find(user, everything, rows=seen.rows).tolist() == truth(seen, user, everything)


@pytest.mark.parametrize("find", [contains, contains_reference])
def test_ids_of_no_item_stand_nowhere(find):
    item = torch.tensor([[-1, N_ITEMS, 2**31 + 3, 2**40, -(2**33)]])
    seen = index()
    assert not find(torch.tensor([11]), item, rows=seen.rows).any()  # the user who has everything
    assert not find(torch.tensor([11, 11]), item, rows=seen.rows).any()
    assert not find(torch.tensor([11, 11]), item.expand(2, -1), rows=seen.rows).any()


@pytest.mark.parametrize("find", [contains, contains_reference])
def test_nothing_asked_and_nothing_seen(find):
    seen = index()
    nobody, nothing = torch.zeros(0, dtype=torch.long), torch.zeros((0, 3), dtype=torch.long)
    assert find(nobody, nothing, rows=seen.rows).shape == (0, 3)
    assert find(nobody, torch.zeros((1, 3), dtype=torch.long), rows=seen.rows).shape == (0, 3)
    assert find(torch.tensor([1, 2]), nothing.T[:2], rows=seen.rows).shape == (2, 0)
    assert find(torch.tensor([1, 2]), nothing.T[:1], rows=seen.rows).shape == (2, 0)
    empty = Seen([], [], n_users=3, n_items=4)
    assert not find(torch.tensor([0, 2]), torch.arange(4)[None], rows=empty.rows).any()
    assert not find(torch.tensor([0, 2]), torch.arange(4).expand(2, -1), rows=empty.rows).any()


@pytest.mark.parametrize("find", [contains, contains_reference])
@pytest.mark.parametrize("user", [-1, len(DEGREES), 2**40])
def test_users_without_a_row_are_refused(find, user):
    for seen in (index(), index([0] * len(DEGREES))):
        for rows in (1, 2):
            with pytest.raises(IndexError):
                find(torch.tensor([0, user]), torch.zeros((rows, 3), dtype=torch.long), rows=seen.rows)


@compiled
def test_rows_that_lie_outside_the_items_are_refused():
    rows = index().rows
    for offset in (rows.offset + 1, rows.offset.flip(0)):
        with pytest.raises(IndexError, match="outside the items"):
            contains(
                torch.arange(len(DEGREES)),
                torch.zeros((len(DEGREES), 2), dtype=torch.long),
                rows=replace(rows, offset=offset, sieve=None),
            )


@compiled
def test_a_sieve_lets_pass_what_users_have_and_little_else():
    seen = index(DEGREES, 100_000)
    head, word = seen.rows.sieve
    first, log = head & ~63, head & 63
    assert (2**log).tolist() == [max(64, 1 << (8 * many - 1).bit_length()) for many in DEGREES]
    assert torch.equal(first[1:], (first + 2**log)[:-1]) and len(word) * 64 == int((2**log).sum())
    for user in range(len(DEGREES)):
        item = torch.arange(100_000)
        mixed = item * (0x9E3779B97F4A7C15 - 2**64)  # wraps
        place = (first[user] >> 6) + (((mixed >> 32 & 0xFFFFFFFF) << (log[user] - 6)) >> 32)
        passes = torch.ones(len(item), dtype=torch.bool)
        for shift in (14, 20):
            passes &= (word[place] >> (mixed >> shift & 63)) & 1 == 1
        has = contains_reference(torch.tensor([user]), item[None], rows=seen.rows)[0]
        assert passes[has].all() and float(passes.double().mean()) < 0.08


@compiled
@pytest.mark.parametrize("many", [1, 3, 33])
def test_a_sieve_changes_no_answer(many):
    seen, rng = index(), streams("sieved", many)
    user = torch.randint(len(DEGREES), (500,), generator=rng)
    item = torch.randint(-3, N_ITEMS + 3, (500, many), generator=rng)
    assert seen.rows.sieve is not None
    bare = replace(seen.rows, sieve=None)
    assert torch.equal(contains(user, item, rows=seen.rows), contains(user, item, rows=bare))


@compiled
def test_a_sieve_that_lies_outside_its_words_is_refused():
    rows, user = index().rows, torch.arange(len(DEGREES))
    for head in (rows.sieve.head + 64 * len(rows.sieve.word), -rows.sieve.head, rows.sieve.head | 63):
        with pytest.raises(IndexError, match="sieve"):
            contains(user, user[:, None], rows=replace(rows, sieve=rows.sieve._replace(head=head)))
    with pytest.raises(ValueError, match="head a user"):
        contains(user, user[:, None], rows=replace(rows, sieve=rows.sieve._replace(head=rows.sieve.head[1:])))


def test_copies_of_an_index_answer_alike():
    seen = index()
    user, item = torch.arange(len(DEGREES)), torch.arange(len(DEGREES))[:, None]
    wanted = seen.contains(user, item)
    for copy in (deepcopy(seen), seen.apart(), deepcopy(seen.rows)):
        rows = copy.rows if isinstance(copy, Seen) else copy
        assert torch.equal(contains(user, item, rows=rows), wanted)


@compiled
def test_kernels_are_told_anew_where_memory_moved():
    """torch moves a tensor's memory in place when it goes to another process, and frees what was there."""
    seen = index()
    before = seen.rows.arrays
    assert seen.rows.arrays is before
    seen.share_memory()
    assert seen.rows.arrays is not before
    every = torch.arange(N_ITEMS).expand(len(DEGREES), -1)
    user = torch.arange(len(DEGREES))
    assert torch.equal(seen.contains(user, every), contains_reference(user, every, rows=seen.rows))


@compiled
def test_any_number_of_threads_gives_the_same(monkeypatch):
    seen = index()
    user = torch.randint(len(DEGREES), (4000,), generator=streams("users"))
    item = torch.randint(N_ITEMS, (4000, 5), generator=streams("items"))
    for asked in (item, item[:1]):
        wanted = contains_reference(user, asked, rows=seen.rows)
        for many in (1, 2, 4):
            monkeypatch.setattr(native, "threads", lambda many=many: many)
            assert torch.equal(contains(user, asked, rows=seen.rows), wanted)


def test_partition_finds_the_first_place_that_fails():
    values = torch.tensor([1, 3, 3, 7, 9, 2, 4, 4])
    low, high = torch.tensor([0, 0, 0, 5, 5, 5, 2]), torch.tensor([5, 5, 5, 8, 8, 8, 2])
    bound = torch.tensor([0, 3, 9, 1, 4, 3, 5])
    assert partition(low, high, 5, lambda place: values[place] <= bound).tolist() == [0, 3, 5, 5, 8, 6, 2]


def test_pairs_follow_the_order_of_the_users():
    seen = Seen([0, 0, 2], [4, 1, 3], n_users=3, n_items=5)
    row, item = pairs(torch.tensor([2, 1, 0, 2]), seen.rows)
    assert row.tolist() == [0, 2, 2, 3] and item.tolist() == [3, 1, 4, 3]
