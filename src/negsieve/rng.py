"""Named random streams: everything random is a function of (seed, stream name, keys).

Nothing random is ever stored. A checkpoint needs no generator state, and resuming, the number of
workers and the order of other work in the process cannot change a draw.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

_ROUNDS = 6
_MASK = (1 << 31) - 1


def derive(name: str, *key: int, seed: int = 0) -> int:
    """A 64-bit seed for the stream ``name`` at ``key``; equal on every machine and version."""
    text = "/".join([str(int(seed)), name, *(str(int(part)) for part in key)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def streams(name: str, *key: int, seed: int = 0, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator for the stream ``name`` at ``key``, for example ``streams("negatives", step)``.

    Costs a few microseconds. torch's CPU generator keeps 32 bits of a seed: two of a million
    streams may start alike, which is harmless here because they serve different batches.
    """
    generator = torch.Generator(device=device)
    return generator.manual_seed(derive(name, *key, seed=seed))


def shuffled(place: Tensor, n: int, key: int) -> Tensor:
    """Where the keyed shuffle of ``range(n)`` puts ``place`` (``Long[B]`` -> ``Long[B]``).

    A Feistel network over the smallest square power of two, walked until it lands inside ``n``:
    a permutation without a table, so an epoch's order costs no memory and any step of it can be
    had without the ones before. Cost: about 50 elementwise passes over B.
    """
    half = max(1, ((max(n, 2) - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    rounds = [derive("shuffle round", key, i) & _MASK for i in range(_ROUNDS)]

    def permute(value: Tensor) -> Tensor:
        left, right = value >> half, value & mask
        for constant in rounds:
            mixed = (right * 0x2545F491 + constant) & _MASK
            mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6D) & _MASK
            mixed = ((mixed ^ (mixed >> 12)) * 0x297A2D39) & _MASK
            left, right = right, left ^ ((mixed ^ (mixed >> 15)) & mask)
        return (left << half) | right

    out = permute(place)
    while bool((outside := out >= n).any()):
        out = torch.where(outside, permute(out), out)
    return out
