"""Losses by name and their twins for the compiled steps: same values, same settings, nothing else taken."""

import pytest
import torch

from negsieve import spec
from negsieve.kernels.losses import price_reference
from negsieve.losses import bpr
from negsieve.rng import streams
from negsieve.training.build import settle
from negsieve.training.pairing import pair_loss, why_unpaired
from negsieve.types import Negatives


def settled(text):
    return settle(spec.parse(text), {"n_users": 3, "n_items": 9, "seen": None, "seed": 0})


@pytest.mark.parametrize(
    "text",
    [
        "bpr",
        "soft_bpr",
        "soft_bpr:beta=0.3",
        "soft_bpr:beta=linear:0.4:0.1:10",
        "bce",
        "hinge:margin=0.5",
        "softmax:temperature=0.5",
        "softmax:include_positive=false",
        "softmax:temperature=step:0.5:0.1:1",
        "k_pair",
    ],
)
def test_the_twin_has_the_same_value_and_slope(text):
    loss, rng = settled(text), streams("pairing")
    for one in loss.schedules.values():
        one.move(3)
    positive = torch.randn(5, generator=rng).requires_grad_()
    negative = torch.randn(5, 3, generator=rng).requires_grad_()
    keep = torch.tensor([[True, True, False]]).expand(5, 3)
    value = loss(positive, negative, Negatives(torch.zeros(5, 3, dtype=torch.long), keep=keep))
    value.sum().backward()
    twin = price_reference(pair_loss(loss), positive.detach(), negative=negative.detach(), keep=keep)
    for ours, theirs in zip(twin, (value.detach(), positive.grad, negative.grad), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_plain_function_is_taken_with_its_defaults():
    assert pair_loss(bpr).kind == "bpr"


@pytest.mark.parametrize("text", ["hard_bpr", "softmax:correct=log_q", "full_softmax", "gbce", "ccl"])
def test_other_losses_are_not_taken_and_it_says_which_are(text):
    assert pair_loss(settled(text)) is None
    assert "bpr, soft_bpr, bce, hinge, k_pair and softmax" in why_unpaired(settled(text))
