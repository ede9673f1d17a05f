"""Attention of windows that lie end to end: the kernel agrees with every token against every other, and a mask."""

import pytest
import torch

from negsieve.kernels import native
from negsieve.kernels.attention import causal_attention, causal_attention_reference, serves
from negsieve.rng import streams

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")


def asked(dim: int, length: list[int]):
    rng = streams("asked", dim)
    length = torch.tensor(length, dtype=torch.long)
    query, known = (torch.randn(int(length.sum()), many * dim, generator=rng) for many in (1, 2))
    return query / dim**0.5, known, length


@compiled
@pytest.mark.parametrize(("dim", "heads"), [(1, 1), (6, 2), (32, 1), (33, 1), (64, 1), (64, 2), (128, 1), (200, 8)])
@pytest.mark.parametrize("pads", [0, 20])
def test_kernel_and_twin_agree(dim, heads, pads):
    query, known, length = asked(dim, [0, 1, 1, 2, 7, 20, 33, 0])
    pad = torch.randn(2, dim, generator=streams("pad")) if pads else None
    how = {"heads": heads, "pad": pad, "pads": pads}
    found = causal_attention(query, known, length, **how)
    assert torch.allclose(found, causal_attention_reference(query, known, length, **how), atol=2e-6, rtol=1e-5)
    for at in (torch.tensor([], dtype=torch.long), torch.tensor([0, 2, 3, 10, 11, 63]), torch.arange(64)):
        some = causal_attention(query[at], known, length, at=at, **how)
        assert torch.equal(some, found[at])
        told = causal_attention_reference(query[at], known, length, at=at, **how)
        assert torch.allclose(some, told, atol=2e-6, rtol=1e-5)


@compiled
def test_large_scores_overflow_nothing_and_threads_change_no_bit():
    query, known, length = asked(64, [5] * 300)
    found = causal_attention(300 * query, known, length)
    assert found.isfinite().all()
    assert torch.allclose(found, causal_attention_reference(300 * query, known, length), atol=1e-4)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            assert torch.equal(causal_attention(300 * query, known, length), found)
    finally:
        torch.set_num_threads(before)


@compiled
def test_it_serves_who_wants_no_gradient_and_refuses_windows_that_do_not_fit():
    query, known, length = asked(8, [3, 4])
    assert serves(query, known) and not serves(query.double(), known) and not serves(query.requires_grad_(), known)
    with torch.no_grad():
        assert serves(query, known)
    assert serves(known) and not serves(known, query)
    assert not causal_attention(query, known, length).requires_grad
    for wrong in ([3, 3], [8, -1]):
        with pytest.raises(ValueError, match="causal_attention"):
            causal_attention(query, known, torch.tensor(wrong))
    with pytest.raises(ValueError, match="heads"):
        causal_attention(query, known, length, heads=3)
    with pytest.raises(ValueError, match="order"):
        causal_attention(query[:2], known, length, at=torch.tensor([3, 1]))
    with pytest.raises(IndexError, match="token 7"):
        causal_attention(query[:2], known, length, at=torch.tensor([3, 7]))


def test_no_windows_are_no_tokens():
    for act in (causal_attention, causal_attention_reference):
        assert act(*asked(4, [])).shape == (0, 4)
