"""A state does not depend on which others are asked for: few are encoded alone, many with all of their windows."""

import pytest
import torch

from negsieve.models import packing
from negsieve.models.selfattention import SelfAttention, Tokens
from negsieve.rng import streams


@pytest.mark.parametrize("pads", [0, 12])
@pytest.mark.parametrize("blocks", [1, 3])
def test_few_states_are_those_of_all(blocks, pads):
    rng = streams("packing")
    encoder = SelfAttention(8, length=12, blocks=blocks, heads=2, dropout=0.3, pads=pads, rng=rng)
    table, length = torch.randn(50, 8, generator=rng), torch.tensor([1, 1, 4, 9, 12])
    many = int(length.sum())
    tokens = Tokens(torch.randint(50, (many,), generator=rng), length, torch.arange(many))
    start = (length.cumsum(0) - length)[torch.tensor([3, 0, 4, 4, 2])]
    at = start + torch.tensor([8, 0, 11, 3, 2])
    at[1] = -1
    some, every = (packing.Reading(tokens, one, start) for one in (at, torch.arange(many)))
    with torch.no_grad():
        found = packing.states(encoder, table, some, None)
        whole = packing.states(encoder, table, every, None)
    recorded = packing.states(encoder, table, some, None)
    assert recorded.requires_grad and torch.equal(found[1], encoder.last.bias)
    torch.testing.assert_close(found[at >= 0], whole[at[at >= 0]], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found, recorded.detach(), atol=1e-6, rtol=1e-5)
    noisy = packing.states(encoder, table, some, 5)
    assert not torch.allclose(noisy, found)


def test_a_norm_learns_beside_frozen_projections():
    """Queries alone depend on it: what needs a gradient must not be read by the kernel that has none."""
    encoder = SelfAttention(8, length=6, blocks=1, heads=2, dropout=0.3, pads=0, rng=streams("frozen"))
    vector, length = torch.randn(9, 8, generator=streams("vector")), torch.tensor([3, 6])
    encoder.place.requires_grad_(False)
    tokens = Tokens(torch.zeros(9, dtype=torch.long), length, torch.arange(9))
    norm, found = encoder.blocks[0].norm, []
    for known in (True, False):
        encoder.blocks[0].project.requires_grad_(known)
        found.append(torch.autograd.grad(encoder(vector, tokens, None).square().sum(), list(norm.parameters())))
    torch.testing.assert_close(*found)
