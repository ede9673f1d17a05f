"""Prices in closed form: equal to the losses and their gradients by autograd, compiled and in torch."""

import pytest
import torch

from negsieve.errors import UsageError
from negsieve.kernels import native
from negsieve.kernels.losses import PairLoss, price, price_reference
from negsieve.losses import listwise, pairwise
from negsieve.rng import streams
from negsieve.types import Negatives

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")

CASES = {
    "bpr": (PairLoss("bpr"), pairwise.bpr, {}),
    "soft_bpr": (PairLoss("soft_bpr", beta=0.3), pairwise.soft_bpr, {"beta": 0.3}),
    "bce": (PairLoss("bce"), pairwise.bce, {}),
    "hinge": (PairLoss("hinge", margin=0.7), pairwise.hinge, {"margin": 0.7}),
    "softmax": (PairLoss("softmax", temperature=0.5), listwise.softmax, {"temperature": 0.5}),
    "sl": (PairLoss("softmax", include_positive=False), listwise.softmax, {"include_positive": False}),
}


def scores(rows: int, many: int, *, spread: float = 3.0, dtype=torch.float32):
    rng = streams("init", rows, many)
    positive, negative = (torch.randn(shape, generator=rng).to(dtype) * spread for shape in ((rows,), (rows, many)))
    weight = torch.rand(rows, many, generator=rng).to(dtype)
    keep = torch.rand(rows, many, generator=rng) < 0.6
    keep[::5] = False  # rows that keep nothing
    return positive, negative, weight, keep


def given(weight, keep):
    yield None, None
    yield weight, None
    yield None, keep
    yield weight, keep


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("many", [1, 5])
def test_the_twin_is_the_loss_and_its_gradient(name, many):
    loss, function, settings = CASES[name]
    positive, negative, *rest = scores(33, many, dtype=torch.float64)
    for weight, keep in given(*rest):
        own, other = positive.clone().requires_grad_(), negative.clone().requires_grad_()
        value = function(own, other, Negatives(torch.zeros(33, many).long(), weight=weight, keep=keep), **settings)
        wanted = torch.autograd.grad(value.sum(), (own, other))
        found = price_reference(loss, positive, negative=negative, weight=weight, keep=keep)
        torch.testing.assert_close(found, (value.detach(), *wanted), rtol=1e-12, atol=1e-14)


@compiled
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("rows", "many"), [(0, 1), (1, 1), (16, 3), (100, 1), (1031, 4)])
def test_the_kernel_is_its_twin(name, rows, many):
    loss = CASES[name][0]
    positive, negative, *rest = scores(rows, many)
    for weight, keep in given(*rest):
        found = price(loss, positive, negative=negative, weight=weight, keep=keep)
        exact = price_reference(
            loss,
            positive.double(),
            negative=negative.double(),
            weight=None if weight is None else weight.double(),
            keep=keep,
        )
        for one, other in zip(found, exact, strict=True):
            torch.testing.assert_close(one.double(), other, rtol=2e-6, atol=1e-6)


@compiled
def test_far_scores_stay_finite_and_keep_their_digits():
    gap = torch.linspace(-200, 200, 4001)
    found = price(PairLoss("bpr"), torch.zeros_like(gap), negative=gap[:, None])
    exact = price_reference(PairLoss("bpr"), torch.zeros_like(gap).double(), negative=gap[:, None].double())
    near = gap.abs() < 80
    for one, other in zip(found, exact, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one[near].double(), other[near], rtol=5e-7, atol=0)


@compiled
@pytest.mark.parametrize("name", CASES)
def test_a_bad_score_shows_and_a_dropped_one_does_not(name):
    loss = CASES[name][0]
    positive, negative = torch.zeros(20), torch.zeros(20, 2)
    negative[3, 1], positive[7] = torch.nan, torch.nan
    value = price(loss, positive, negative=negative).value
    assert value.isnan().nonzero().flatten().tolist() == [3, 7]
    keep = torch.ones(20, 2, dtype=torch.bool)
    keep[3, 1] = False
    found = price(loss, positive, negative=negative, keep=keep)
    assert found.value.isnan().nonzero().flatten().tolist() == [7]
    assert found.negative[3, 1] == 0


@compiled
def test_a_rows_price_is_its_own(monkeypatch):
    positive, negative, weight, keep = scores(3000, 3)
    whole = price(PairLoss("softmax"), positive, negative=negative, weight=weight, keep=keep)
    alone = price(PairLoss("softmax"), positive[17:], negative=negative[17:], weight=weight[17:], keep=keep[17:])
    for threads in (1, 2, 4):
        monkeypatch.setattr(native, "threads", lambda many=threads: many)
        again = price(PairLoss("softmax"), positive, negative=negative, weight=weight, keep=keep)
        assert all(torch.equal(one, other) for one, other in zip(whole, again, strict=True))
    assert all(torch.equal(one[17:], other) for one, other in zip(whole, alone, strict=True))


def test_what_cannot_be_priced_is_refused():
    with pytest.raises(UsageError, match="no negatives"):
        price(PairLoss("bpr"), torch.zeros(3), negative=torch.zeros(3, 0))
    with pytest.raises(UsageError, match="wanted one of bpr"):
        PairLoss("ccl")
    with pytest.raises(UsageError, match="above 0"):
        PairLoss("softmax", temperature=0.0)
