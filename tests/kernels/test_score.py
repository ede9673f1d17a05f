"""Rated candidates: kernel and twin agree at every width, in every place, by any number of threads."""

import pytest
import torch

from negsieve.kernels import native
from negsieve.kernels.score import score_candidates, score_candidates_reference
from negsieve.rng import streams
from negsieve.scorers import Dot

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")
WIDTHS = [1, 3, 15, 16, 32, 33, 64, 65, 100, 128, 256]


@pytest.fixture
def threads():
    """``threads(2)`` sets how many threads kernels use, for this test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


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
