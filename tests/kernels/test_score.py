"""Rated candidates: kernel and twin agree at every width, in every place, by any number of threads."""

import pytest
import torch

from negsieve.kernels import native
from negsieve.kernels.score import (
    score_candidates,
    score_candidates_reference,
    score_gradients,
    score_gradients_reference,
)
from negsieve.rng import streams
from negsieve.scorers import Dot

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")
WIDTHS = [1, 3, 15, 16, 32, 33, 64, 65, 100, 128, 256]


def tables(rows, width, *, many=5, n_items=50, seed=0):
    rng = streams("tables", rows, width, seed=seed)
    query, table = (torch.randn(n, width, generator=rng) for n in (rows, n_items))
    return query, table, torch.randint(n_items, (rows, many), generator=rng)


@compiled
@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_kernel_and_twin_agree(width, cosine):
    query, table, item = tables(7, width)
    table[3] = 0.0  # a row without a direction
    item[0] = 3
    found = score_candidates(query, table, item, cosine=cosine)
    expected = score_candidates_reference(query.double(), table.double(), item, cosine=cosine)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(score_candidates_reference(query, table, item, cosine=cosine), found)


@compiled
@pytest.mark.parametrize(("rows", "many"), [(0, 4), (4, 0), (1, 1), (3, 1), (1, 9), (2000, 3)])
def test_any_number_of_rows_and_candidates(rows, many):
    query, table, item = tables(rows, 33, many=many)
    found = score_candidates(query, table, item)
    assert found.shape == (rows, many)
    torch.testing.assert_close(found, score_candidates_reference(query, table, item))


@compiled
def test_a_score_depends_on_its_row_and_item_alone(threads):
    query, table, item = tables(3000, 64, many=8)
    threads(1)
    found = score_candidates(query, table, item)
    for many in (2, 4):
        threads(many)
        assert torch.equal(score_candidates(query, table, item), found)
    assert torch.equal(score_candidates(query[1000:], table, item[1000:, 3:]), found[1000:, 3:])


@compiled
def test_an_id_out_of_range_is_named():
    query, table, item = tables(4, 8)
    for bad in (-1, 50, 2**40):
        item[2, 3] = bad
        with pytest.raises(IndexError, match=f"{bad}, wanted 0..49"):
            score_candidates(query, table, item)


@compiled
def test_sizes_that_do_not_fit_are_refused():
    query, table, item = tables(4, 8)
    with pytest.raises(ValueError, match="width"):
        score_candidates(query[:, :7].contiguous(), table, item)
    with pytest.raises(ValueError, match="rows"):
        score_candidates(query[:3], table, item)


@compiled
@pytest.mark.parametrize("cosine", [False, True])
def test_a_scorer_gives_the_same_scores_with_and_without_gradient(cosine):
    query, table, item = tables(6, 20)
    scorer = Dot(query, table.requires_grad_(), cosine=cosine, temperature=0.5)
    with torch.no_grad():
        free = scorer.score(item)
    torch.testing.assert_close(free, scorer.score(item).detach())
    assert scorer.score(item).requires_grad
    assert not free.requires_grad


def test_other_kinds_of_numbers_take_the_twin():
    query, table, item = tables(6, 20)
    double = score_candidates(query.double(), table.double(), item)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), score_candidates(query, table, item))
    every = torch.cat([table, table], dim=1)[:, 20:]  # not contiguous
    torch.testing.assert_close(score_candidates(query, every, item), score_candidates(query, table, item))


@compiled
@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_gradients_of_kernel_and_twin_agree(width, cosine):
    query, table, item = tables(40, width)
    table[3] = 0.0
    item[:9, :2] = 3
    item[:, 4] = item[:, 3]  # twice in a row
    gradient = torch.randn(item.shape, generator=streams("gradient"))
    score = score_candidates(query, table, item, cosine=cosine)
    found = score_gradients(query, table, item, score=score, gradient=gradient, cosine=cosine)
    double = [one.double() for one in (query, table)]
    wide = score_gradients_reference(*double, item, score=score.double(), gradient=gradient.double(), cosine=cosine)
    for one, other in zip(found, wide, strict=True):
        where = one.isfinite() & (other.abs() < 1e6)  # a cosine has steep gradients beside an item without direction
        torch.testing.assert_close(one.double()[where], other[where], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cosine", [False, True])
def test_gradients_are_those_of_autograd(cosine):
    query, table, item = (one.double() if one.is_floating_point() else one for one in tables(9, 6))
    table[3] = 0.0
    query, table = query.requires_grad_(), table.requires_grad_()
    score = score_candidates_reference(query, table, item, cosine=cosine)
    gradient = torch.randn(item.shape, generator=streams("gradient"), dtype=torch.double)
    expected = torch.autograd.grad(score, (query, table), gradient)
    found = score_gradients_reference(query, table, item, score=score, gradient=gradient, cosine=cosine)
    torch.testing.assert_close(found, expected)


@compiled
def test_gradients_do_not_depend_on_the_number_of_threads(threads):
    query, table, item = tables(2000, 64, many=6, n_items=3000)
    gradient = torch.randn(item.shape, generator=streams("gradient"))
    threads(1)
    found = score_gradients(query, table, item, score=gradient, gradient=gradient)
    for many in (2, 4):
        threads(many)
        again = score_gradients(query, table, item, score=gradient, gradient=gradient)
        assert all(torch.equal(one, other) for one, other in zip(found, again, strict=True))


@compiled
@pytest.mark.parametrize("cosine", [False, True])
def test_a_score_can_be_differentiated_twice(cosine):
    query, table, item = tables(3, 5, many=2)
    query, table = query.requires_grad_(), table.requires_grad_()

    def second(rate):
        score = rate(query, table, item, cosine=cosine)
        (slope,) = torch.autograd.grad(score.square().sum(), table, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), (query, table))

    torch.testing.assert_close(second(score_candidates), second(score_candidates_reference), rtol=1e-4, atol=1e-4)


@compiled
@pytest.mark.parametrize(("rows", "many"), [(0, 4), (4, 0)])
def test_nothing_rated_moves_nothing(rows, many):
    query, table, item = tables(rows, 8, many=many)
    gradient = torch.zeros(item.shape)
    d_query, d_table = score_gradients(query, table, item, score=gradient, gradient=gradient)
    assert not d_query.any() and not d_table.any() and d_query.shape == query.shape
