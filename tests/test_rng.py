"""Streams depend on their names alone; the shuffle is a permutation."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from negsieve.rng import derive, shuffled, streams


def test_a_stream_is_fixed_for_ever():
    assert derive("negatives", 3, 1, seed=42) == derive("negatives", 3, 1, seed=42)
    assert derive("test", seed=0) == 15772482879401584007


def test_streams_differ_by_name_key_and_seed():
    draws = [
        torch.randint(1 << 40, (4,), generator=generator).tolist()
        for generator in (streams("a", 1), streams("a", 2), streams("b", 1), streams("a", 1, seed=1), streams("a", 1))
    ]
    assert draws[0] == draws[4]
    assert len({tuple(one) for one in draws}) == 4


def test_streams_leave_global_randomness_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    torch.rand(10, generator=streams("x"))
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


@given(n=st.integers(1, 3000), key=st.integers(0, 2**63))
def test_shuffled_is_a_permutation(n, key):
    assert shuffled(torch.arange(n), n, key).sort().values.equal(torch.arange(n))


def test_any_part_of_a_shuffle_can_be_had_alone():
    whole = shuffled(torch.arange(1000), 1000, 9)
    assert shuffled(torch.arange(400, 410), 1000, 9).equal(whole[400:410])


def test_shuffles_look_random():
    """Over many keys, a place lands everywhere equally often, and neighbours do not stay neighbours."""
    n, keys = 50, 4000
    table = torch.stack([shuffled(torch.arange(n), n, derive("key", key)) for key in range(keys)])
    for place in (0, 1, 31, 49):
        count = torch.bincount(table[:, place], minlength=n).double()
        chi = ((count - keys / n) ** 2 / (keys / n)).sum()
        assert chi < 94  # the 99.99 % point with 49 degrees of freedom
    step = (table[:, 1:] - table[:, :-1]).abs().eq(1).double().mean()
    assert abs(float(step) - 2 / n) < 0.004
