"""Random words: known values, twins equal, even, and independent of order."""

import pytest
import torch
from scipy import stats

from negsieve.kernels import native
from negsieve.kernels.counter import below, draw_key, renamed, words, words_reference
from negsieve.rng import streams

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")


def test_the_finaliser_is_that_of_splitmix64():
    # the first three outputs of splitmix64 seeded with 1234567, as its authors' code prints them
    from negsieve.kernels.counter import _GOLDEN, _mixed

    seed = 1234567
    assert [_mixed(seed + _GOLDEN * n) for n in (1, 2, 3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@compiled
@pytest.mark.parametrize("key", [0, 1, -5, 2**63 - 1])
def test_kernel_and_twin_give_the_same_bits(key):
    sample = torch.tensor([0, 1, 7, 2**31, 2**62])
    for n, first in ((0, 0), (1, 0), (5, 3), (2, 2**40)):
        assert torch.equal(words(key, sample, n, first=first), words_reference(key, sample, n, first=first))


def test_words_depend_on_their_counters_alone():
    sample = torch.arange(50)
    found = words(3, sample, 4)
    order = torch.randperm(50, generator=streams("order"))
    assert torch.equal(words(3, sample[order], 4), found[order])
    assert torch.equal(words(3, sample, 2, first=2), found[:, 2:])
    assert not torch.equal(words(4, sample, 4), found)
    assert found.unique().numel() == found.numel()


def test_numbers_below_n_are_even_and_never_n():
    word = words(draw_key(streams("negatives", 1)), torch.arange(20_000), 5)
    drawn = below(word, 7).flatten()
    assert stats.chisquare(torch.bincount(drawn, minlength=7).numpy()).pvalue > 1e-3
    assert int(below(torch.tensor([-1]), 2**53 - 1)) == 2**53 - 2  # all bits set
    assert int(below(torch.tensor([-1]), 5)) == 4


def test_neighbouring_samples_and_draws_are_not_alike():
    word = words(0, torch.arange(4096), 2)
    bits = (word[:, :, None] >> torch.arange(64)) & 1  # [4096, 2, 64]
    share = bits.double().mean(0)
    assert float((share - 0.5).abs().max()) < 0.05
    assert abs(float((bits[:, 0] == bits[:, 1]).double().mean()) - 0.5) < 0.01
    assert abs(float((bits[1:] == bits[:-1]).double().mean()) - 0.5) < 0.01


def test_samples_can_stand_for_those_of_another_key():
    sample = torch.tensor([0, 1, 12345, 2**62, -5])
    keys = [3, 0, -1, 2**63 - 1, -(2**63), 0x1234567890ABCDEF, 3]
    for first in keys:
        under = [first, *keys]
        own = torch.cat([words(key, sample, 9) for key in under])
        assert torch.equal(words(first, renamed(sample.repeat(len(under)), under), 9), own)
