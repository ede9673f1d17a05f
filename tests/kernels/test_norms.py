"""Squared norms of rows: kernel and twin agree, gradients too, by any number of threads."""

import pytest
import torch

from negsieve.kernels import native
from negsieve.kernels.norms import squared_norms, squared_norms_reference
from negsieve.rng import streams

pytestmark = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")


def both(table, place):
    """What kernel and twin give: the norms, and the table's gradient of a weighted sum of them."""
    weight = torch.randn(len(place), generator=streams("weight"))
    for find in (squared_norms, squared_norms_reference):
        own = table.clone().requires_grad_()
        norms = find(own, place)
        (norms * weight).sum().backward()
        yield norms.detach(), own.grad


@pytest.mark.parametrize("width", [1, 3, 16, 32, 33, 64, 65, 100, 128, 256])
def test_kernel_and_twin_agree(width):
    table = torch.randn(20, width, generator=streams("table", width))
    place = torch.randint(20, (70,), generator=streams("place"))  # repeats, in no order
    for found, expected in zip(*both(table, place), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("many", [0, 1])
def test_none_and_one(many):
    for found, expected in zip(*both(torch.ones(4, 5), torch.zeros(many, dtype=torch.long)), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_number_of_threads_changes_no_bit():
    table = torch.randn(3000, 33, generator=streams("table"))
    place = torch.randint(3000, (9000,), generator=streams("place"))
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        results.append(next(both(table, place)))
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_norm_can_be_differentiated_twice():
    table, place = torch.randn(5, 3, generator=streams("table")).requires_grad_(), torch.tensor([0, 4, 4])
    (slope,) = torch.autograd.grad(squared_norms(table, place).square().sum(), table, create_graph=True)
    (found,) = torch.autograd.grad(slope.sum(), table)
    (slope,) = torch.autograd.grad(squared_norms_reference(table, place).square().sum(), table, create_graph=True)
    torch.testing.assert_close(found, torch.autograd.grad(slope.sum(), table)[0])


@pytest.mark.parametrize("bad", [-1, 4, 2**40])
def test_a_place_outside_the_table_is_named(bad):
    with pytest.raises(IndexError, match=f"row {bad}, wanted 0..3"):
        squared_norms(torch.ones(4, 5), torch.tensor([0, bad]))


def test_double_precision_takes_the_twin():
    table = torch.ones(4, 5, dtype=torch.double)
    assert squared_norms(table, torch.tensor([2])).tolist() == [5.0]
