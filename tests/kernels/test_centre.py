"""The centre that a row has the greatest product with: kernel and twin agree, the first of equal ones counts."""

import pytest
import torch

from negsieve.kernels import native
from negsieve.kernels.centre import best_centre, best_centre_reference
from negsieve.rng import streams

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")


def whole(rows, width, name):
    """Small whole numbers, whose sums are exact in any order."""
    return torch.randint(-3, 4, (rows, width), generator=streams(name, rows, width)).float()


@compiled
@pytest.mark.parametrize("width", [1, 3, 64, 65])
@pytest.mark.parametrize(("rows", "centres"), [(0, 3), (1, 1), (15, 6), (16, 7), (300, 100), (1000, 20)])
def test_kernel_and_twin_agree(rows, centres, width):
    vector, centre, offset = whole(rows, width, "v"), whole(centres, width, "c"), whole(1, centres, "o")[0]
    assert torch.equal(best_centre(vector, centre), best_centre_reference(vector, centre))
    found = best_centre(vector, centre, offset)
    assert torch.equal(found, best_centre_reference(vector, centre, offset))
    assert torch.equal(found, (vector @ centre.T + offset).argmax(1))


def test_of_equal_products_the_first_counts_and_what_is_no_number_before_all():
    vector = torch.tensor([[1.0, 0], [0, 1], [torch.nan, 1], [torch.inf, 0]])
    centre = torch.tensor([[0.0, 0], [1, -1], [1, 1], [1, 1], [0, 1]]).repeat(3, 1)
    assert best_centre(vector, centre).tolist() == [1, 2, 0, 0]
    centre[7] = torch.nan
    assert best_centre(vector, centre).tolist() == [7, 7, 0, 0]
    assert best_centre(vector.double(), centre.double()).tolist() == [7, 7, 0, 0]


@compiled
def test_a_row_is_its_own(threads):
    vector, centre = (torch.randn(n, 33, generator=streams("t", n)) for n in (3000, 50))
    threads(1)
    found = best_centre(vector, centre)
    for many in (2, 4):
        threads(many)
        assert torch.equal(best_centre(vector, centre), found)
    assert torch.equal(best_centre(vector[701:], centre), found[701:])
    product = (vector @ centre.T).double()
    assert (product.gather(1, found[:, None])[:, 0] >= product.max(1).values - 1e-4).all()


@compiled
def test_sizes_that_disagree():
    with pytest.raises(ValueError, match="differ in width"):
        best_centre(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="an offset a centre"):
        best_centre(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(3))
