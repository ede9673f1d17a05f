"""A keyed shuffle without a table: where a place of ``range(n)`` lands.

A Feistel network over the smallest square power of two, walked until it lands inside ``n``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from negsieve.kernels import native

ROUNDS = 6
MASK = (1 << 31) - 1


def shuffle(place: Tensor, n: int, *, constants: Sequence[int]) -> Tensor:
    """Where the shuffle of ``range(n)`` puts ``place``: ``Long[B]`` -> ``Long[B]``.

    constants  six numbers below 2^31, one a round: each set of them is a shuffle of its own

    Cost: six rounds of three multiplications, 1 to 4 times a place. Raises IndexError for a place outside.
    """
    if not native.serves(place):
        return shuffle_reference(place, n, constants=constants)
    out = torch.empty_like(place, memory_format=torch.contiguous_format)
    native.module().shuffle(place.contiguous(), n, torch.tensor(constants), out, native.threads())
    return out


def shuffle_reference(place: Tensor, n: int, *, constants: Sequence[int]) -> Tensor:
    """``shuffle`` in torch: about 50 elementwise passes over B."""
    if len(place) and not 0 <= int(place.min()) <= int(place.max()) < n:
        raise IndexError(f"places {int(place.min())}..{int(place.max())} of a shuffle of {n}")
    half = max(1, ((max(n, 2) - 1).bit_length() + 1) // 2)
    out = _permuted(place, half, constants)
    while bool((outside := out >= n).any()):
        out = torch.where(outside, _permuted(out, half, constants), out)
    return out


def picked(place: Tensor, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """The entries of two columns ``Long[n]`` at some places ``Long[B]``: ``Long[B]`` each.

    Raises IndexError for a place outside. Cost: two random reads a place.
    """
    if not native.serves(place, one, other):
        return picked_reference(place, one, other)
    out = torch.empty((2, len(place)), dtype=torch.long)
    native.module().picked(place.contiguous(), one.contiguous(), other.contiguous(), *out, native.threads())
    return out[0], out[1]


def picked_reference(place: Tensor, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """``picked`` in torch."""
    return one.index_select(0, place), other.index_select(0, place)


def _permuted(value: Tensor, half: int, constants: Sequence[int]) -> Tensor:
    mask = (1 << half) - 1
    left, right = value >> half, value & mask
    for constant in constants:
        mixed = (right * 0x2545F491 + constant) & MASK
        mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6D) & MASK
        mixed = ((mixed ^ (mixed >> 12)) * 0x297A2D39) & MASK
        left, right = right, left ^ ((mixed ^ (mixed >> 15)) & mask)
    return (left << half) | right
