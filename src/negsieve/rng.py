"""Named random streams: everything random is a function of (seed, stream name, keys).

Nothing random is ever stored. A checkpoint needs no generator state, and resuming, the number of
workers and the order of other work in the process cannot change a draw.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from negsieve.kernels.shuffle import MASK, ROUNDS, shuffle


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

    A Feistel network: a permutation without a table, so an epoch's order costs no memory and any step of
    it can be had without the ones before. Raises IndexError for a place outside. Cost: see kernels/shuffle.py.
    """
    return shuffle(place, n, constants=[derive("shuffle round", key, i) & MASK for i in range(ROUNDS)])
