"""The hardest of some candidates: kernel and twin choose alike, and ties go to the one drawn first."""

import pytest
import torch

from negsieve.kernels import native
from negsieve.kernels.draw import draw_even
from negsieve.kernels.hardest import hardest, hardest_reference, highest, highest_reference
from negsieve.kernels.score import score_candidates
from negsieve.rng import streams
from negsieve.seen import Seen

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")


@compiled
@pytest.mark.parametrize(
    ("rows", "many", "m"), [(0, 3, 2), (1, 1, 1), (5, 2, 2), (300, 32, 4), (300, 33, 1), (9, 200, 60)]
)
def test_kernel_and_twin_choose_alike(rows, many, m):
    rng = streams("scores", rows, many)
    score = torch.randint(-4, 4, (rows, many), generator=rng) / 2  # many ties
    score[score == 1.0] = -0.0  # which equals 0
    score[score == -1.0] = -torch.inf
    if rows > 2:
        score[2, many // 2] = torch.nan
        score[1] = -torch.inf
    found = native_place(score, m)
    assert torch.equal(found, highest_reference(score, m))
    assert torch.equal(highest(score, m), found)


def native_place(score, m):
    """The kernel's answer where ``highest`` may prefer the twin."""
    place = torch.empty(len(score), m, dtype=torch.long)
    native.module().highest(score, place, 1)
    return place


def test_of_equal_scores_the_first_wins_and_what_is_no_number_stands_above_all():
    score = torch.tensor([[1.0, 3.0, 3.0, 2.0], [0.0, -0.0, 0.0, 0.0], [5.0, torch.nan, torch.inf, torch.nan]])
    for kind in (torch.float32, torch.float64):
        assert highest(score.to(kind), 3).tolist() == [[1, 2, 3], [0, 1, 2], [1, 3, 2]]
        assert highest(score.to(kind), 1).tolist() == [[1], [0], [1]]


def test_no_more_can_be_chosen_than_there_are():
    for m in (0, 3):
        with pytest.raises(ValueError, match=f"the {m} highest of 2 scores"):
            highest(torch.zeros(1, 2), m)


def crowd(rows=300, width=33, *, n_users=40, n_items=60, seed=0):
    """Users who have seen nothing, something, all but one item, and everything; their vectors; and a batch of them."""
    rng = streams("crowd", rows, width, seed=seed)
    share = torch.linspace(-0.2, 1, n_users - 2).clamp_min(0)
    has = torch.rand(n_users, n_items, generator=rng) < torch.cat([share, torch.ones(2)])[:, None]
    has[-2, 17] = False
    user, item = has.nonzero(as_tuple=True)
    seen = Seen(user, item, n_users=n_users, n_items=n_items)
    query, table = (torch.randn(n, width, generator=rng) for n in (rows, n_items))
    table[3:9] = table[20]  # ties
    return {"user": torch.randint(n_users, (rows,), generator=rng), "query": query, "table": table, "rows": seen.rows}


def by_parts(key, sample, *, user, query, table, rows, candidates, m, cosine=False):
    item = draw_even(key, sample, user=user, rows=rows, n=candidates)
    return item.gather(1, highest(score_candidates(query, table, item, cosine=cosine), m))


@compiled
@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("width", [1, 3, 32, 33, 64, 65, 100, 128, 256])
def test_draws_and_choice_in_one_are_those_of_the_parts(width, cosine):
    given, sample = crowd(width=width), torch.arange(300) * 7
    for candidates, m in ((1, 1), (16, 1), (16, 16), (33, 4), (200, 7)):
        size = {"candidates": candidates, "m": m, "cosine": cosine}
        found = hardest(5, sample, **given, **size)
        assert torch.equal(found, by_parts(5, sample, **given, **size))
        twin = hardest_reference(5, sample, **given, **size)  # near ties may fall otherwise, the scores may not
        rated = [score_candidates(given["query"], given["table"], one, cosine=cosine) for one in (found, twin)]
        torch.testing.assert_close(*rated, rtol=1e-5, atol=1e-5)


@compiled
def test_the_twin_chooses_the_same_where_sums_are_exact():
    given, sample = crowd(width=8), torch.arange(300)
    given |= {name: given[name].mul(4).round() for name in ("query", "table")}
    size = {"candidates": 40, "m": 6}
    assert torch.equal(hardest(-3, sample, **given, **size), hardest_reference(-3, sample, **given, **size))


@compiled
def test_a_row_is_its_own(threads):
    given, sample, size = crowd(rows=3000), torch.randperm(3000, generator=streams("order")), {"candidates": 9, "m": 2}
    threads(1)
    found = hardest(1, sample, **given, **size)
    for many in (2, 4):
        threads(many)
        assert torch.equal(hardest(1, sample, **given, **size), found)
    some = {"user": given["user"][700:], "query": given["query"][700:]}
    assert torch.equal(hardest(1, sample[700:], **(given | some), **size), found[700:])


@compiled
def test_nobody_and_wrong_sizes():
    given, size = crowd(rows=2), {"candidates": 4, "m": 1}
    none = {"user": given["user"][:0], "query": given["query"][:0]}
    assert hardest(0, torch.arange(0), **(given | none), **size).shape == (0, 1)
    with pytest.raises(IndexError, match=r"user 40, wanted 0\.\.39"):
        hardest(0, torch.arange(2), **(given | {"user": torch.tensor([0, 40])}), **size)
    with pytest.raises(ValueError, match="same rows"):
        hardest(0, torch.arange(3), **given, **size)
    with pytest.raises(ValueError, match="no more than are drawn"):
        hardest(0, torch.arange(2), **given, candidates=4, m=5)


@compiled
@pytest.mark.parametrize("m", [2, 40, 100, 999])
def test_scores_that_even_parts_of_their_range_hardly_tell_apart(m):
    rng = streams("uneven", m)
    even = torch.randn(12, 1000, generator=rng)
    even[1, 17] = 1e30  # one beside which all others look alike
    even[2] = 4.0
    even[3, ::2] = -torch.inf
    even[4] = -torch.inf
    even[5, 3] = torch.inf
    even[6, 5] = torch.nan
    even[7] = torch.randint(2, (1000,), generator=rng).float()
    even[8] = torch.arange(1000.0).exp()  # up to inf
    even[9] = torch.linspace(-1e-40, 1e-40, 1000)
    even[10] = torch.arange(1000.0).flip(0) / 1000
    assert torch.equal(native_place(even, m), highest_reference(even, m))
