"""Counter-based randomness: a random word is a function of (key, sample, draw).

A draw then depends neither on the order of rows and batches nor on the number of threads, and the
compiled kernels and their torch twins see the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from negsieve.kernels import native

_GOLDEN = 0x9E3779B97F4A7C15
_INVERSE = pow(_GOLDEN, -1, 2**64)
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def draw_key(rng: torch.Generator) -> int:
    """A fresh 64-bit key from a generator, for one call's draws."""
    return int(torch.randint(-(2**63), 2**63 - 1, (1,), generator=rng, device=rng.device))


def words(key: int, sample: Tensor, n: int, *, first: int = 0) -> Tensor:
    """64 random bits for draws ``first .. first + n - 1`` of each sample: ``Long[B]`` -> ``Long[B, n]``.

    The words of a key are those of splitmix64, started anew for each sample. Cost: two multiplications a word.
    """
    if not native.serves(sample):
        return words_reference(key, sample, n, first=first)
    out = sample.new_empty((len(sample), n))
    native.module().words(key % 2**64, sample.contiguous(), first, out, native.threads())
    return out


def words_reference(key: int, sample: Tensor, n: int, *, first: int = 0) -> Tensor:
    """``words`` in torch."""
    return word(starts(key, sample)[:, None], torch.arange(first, first + n, device=sample.device))


def starts(key: int, sample: Tensor) -> Tensor:
    """The start of each sample's own stream: ``Long[B]`` -> ``Long[B]``."""
    return _mix(_wrapped(_mixed(key)) + _wrapped(_GOLDEN) * (sample + 1))


def renamed(sample: Tensor, keys: Sequence[int]) -> Tensor:
    """The samples that have under ``keys[0]`` the words that ``sample Long[n]`` have under their own key: ``Long[n]``.

    The s-th of ``keys`` is that of the s-th n / S samples. So draws by many keys are draws by one. Streams start at
    ``mixed(key) + golden * (sample + 1)``, modulo 2^64.
    """
    first = _mixed(keys[0])
    ahead = torch.tensor([_wrapped((_mixed(key) - first) * _INVERSE) for key in keys], device=sample.device)
    return (sample.reshape(len(keys), -1) + ahead[:, None]).flatten()


def word(start: Tensor, draw: Tensor) -> Tensor:
    """The word of each draw of each stream, entry by entry."""
    return _mix(start + _wrapped(_GOLDEN) * (draw + 1))


def below(word: Tensor, n: Tensor | int) -> Tensor:
    """Words as integers of ``0 .. n - 1``, n up to 2^53; a value's chance is off by n * 2^-53 of itself."""
    share = _shift(word, 11).double() * 2.0**-53
    return (share * n).long()


def _mix(z: Tensor) -> Tensor:
    """The finaliser of splitmix64 on int64, whose products wrap."""
    z = (z ^ _shift(z, 30)) * _wrapped(_FIRST)
    z = (z ^ _shift(z, 27)) * _wrapped(_SECOND)
    return z ^ _shift(z, 31)


def _shift(z: Tensor, by: int) -> Tensor:
    """Right by ``by`` bits, filling with zeros."""
    return (z >> by) & ((1 << (64 - by)) - 1)


def _mixed(z: int) -> int:
    mask = 2**64 - 1
    z &= mask
    z = ((z ^ (z >> 30)) * _FIRST) & mask
    z = ((z ^ (z >> 27)) * _SECOND) & mask
    return z ^ (z >> 31)


def _wrapped(z: int) -> int:
    """The same 64 bits as a signed number."""
    return (z + 2**63) % 2**64 - 2**63
