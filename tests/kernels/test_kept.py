"""The candidates at some ranks of those that a filter keeps: kernel and twin agree."""

import pytest
import torch
from torch.nn.functional import normalize

from negsieve.kernels import native
from negsieve.kernels.kept import at_ranks, at_ranks_reference
from negsieve.rng import streams

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")
USERS, ITEMS = 9, 400


def asked(width=24, *, rows=120, many=150, filtered=True, cosine=False):
    """Users with missing candidates, one with none, equal vectors, and rows of users in any order."""
    rng = streams("asked", width, many)
    candidate = torch.stack([torch.randperm(ITEMS, generator=rng)[:many] for _ in range(USERS)]).int()
    candidate[torch.rand(candidate.shape, generator=rng) < 0.1] = -1
    candidate[4] = -1
    table, query, like = (torch.randn(n, width, generator=rng) for n in (ITEMS, rows, rows))
    table[5:40] = table[60]  # ties
    table[41] = 0
    query[7] = 0
    user = torch.randint(USERS, (rows,), generator=rng)
    known = {"user": user, "candidate": candidate, "query": query, "table": table, "cosine": cosine}
    if filtered:
        known |= {"like": normalize(like, dim=1), "bound": 0.1}
    return torch.randint(80, (rows, 6), generator=rng), known


def same(found, expected):
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@compiled
@pytest.mark.parametrize("width", [1, 3, 16, 33, 64, 100, 128])
def test_kernel_and_twin_agree_to_the_bit_where_sums_are_exact(width):
    rank, known = asked(width, filtered=False)
    known |= {name: (4 * known[name]).round() for name in ("query", "table")}
    found = at_ranks(rank, **known)
    assert same(found, at_ranks_reference(rank, **known))
    assert found[1].any() and not found[1].all() and not found[1][known["user"] == 4].any()


@compiled
@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("width", [3, 33, 64, 100, 128])
def test_kernel_and_twin_agree_but_for_near_ties(width, filtered, cosine):
    rank, known = asked(width, filtered=filtered, cosine=cosine)
    (item, keep), (wanted, held) = at_ranks(rank, **known), at_ranks_reference(rank, **known)
    assert ((item == wanted) & (keep == held)).double().mean() > 0.97
    assert (keep != held).any(1).sum() <= (2 if filtered else 0)


@compiled
@pytest.mark.parametrize("rows", [0, 1, 17, 120])
def test_rows_and_threads_do_not_change_a_bit(rows):
    rank, known = asked(64, filtered=True, cosine=True)
    whole = at_ranks(rank, **known)
    some = {name: known[name][:rows] for name in ("user", "query", "like")}
    assert same(at_ranks(rank[:rows], **known | some), [one[:rows] for one in whole])
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            assert same(at_ranks(rank, **known), whole)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("act", [pytest.param(at_ranks, marks=compiled), at_ranks_reference])
def test_ranks_count_the_kept_alone_and_of_equal_scores_the_earlier_is_first(act):
    table = torch.tensor([[1.0, 0.0], [3.0, 0.1], [3.0, 0.1], [2.0, 9.0], [-torch.inf, 0.0], [0.5, 0.0]])
    candidate = torch.tensor([[3, 2, -1, 1, 5, 0]]).int()
    given = {"user": torch.zeros(1, dtype=torch.long), "candidate": candidate, "query": torch.tensor([[1.0, 0.0]])}
    rank = torch.tensor([[0, 1, 2, 3, 4, 5]])
    item, keep = act(rank, **given, table=table)
    assert item.tolist() == [[2, 1, 3, 0, 5, 0]] and keep.tolist() == [[True] * 5 + [False]]
    like = {"like": torch.tensor([[0.0, 1.0]]), "bound": 0.5}  # item 3 points that way
    item, keep = act(rank, **given, table=table, **like)
    assert item.tolist() == [[2, 1, 0, 5, 0, 0]] and keep.tolist() == [[True] * 4 + [False] * 2]
    given["candidate"] = torch.tensor([[4, 0]]).int()
    item, keep = act(rank[:, :3], **given, table=table)
    assert keep.tolist() == [[True, True, False]] and item.tolist()[0][:2] in ([4, 0], [0, 4])  # -inf * 0 is no number


@compiled
def test_ranks_lie_in_memory_as_they_like_and_go_as_far():
    rank, known = asked()
    rank[::3, 1] = 2**63 - 1
    found = at_ranks(rank, **known)
    assert same(at_ranks(rank.T.contiguous().T, **known), found) and not found[1][::3, 1].any()


@compiled
def test_what_is_no_row_no_item_and_no_rank_is_refused():
    rank, known = asked()
    for name, value, problem in (
        ("user", torch.full_like(known["user"], USERS), "user 9"),
        ("candidate", known["candidate"] + ITEMS, "candidate [0-9]+, wanted 0..399, or -1"),
    ):
        with pytest.raises(IndexError, match=problem):
            at_ranks(rank, **known | {name: value})
    with pytest.raises(ValueError, match="a rank below 0"):
        at_ranks(rank - 80, **known)
