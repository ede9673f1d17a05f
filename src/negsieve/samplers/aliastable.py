"""Draws from any law over the items in constant time: Walker's alias table, built without a loop.

Cut every item's weight into I buckets of equal size such that no bucket holds more than two items: a
draw is then a random bucket and a random place in it. The textbook fills the buckets one after the
other. Here the same sweep is read off two running sums, light items' lacks and heavy items'
surpluses (Huebschle-Schneider & Sanders, 2019), in whole numbers, so that the cuts are exact.
"""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.errors import UsageError

_LARGEST = 2**63 - 1
_PLACES = 2.0**63


def alias_table(weight: Tensor) -> Tensor:
    """The table of a law ``weight Long[I]``, ``Long[I, 2]``: see ``kernels.draw.Weights``.

    A bucket has 2^63 places, so an item's probability is off by at most 2^-53 of itself. Memory: 16 bytes an
    item. Raises UsageError unless ``sum(weight)`` is 1 to 2^63 / I.
    """
    length = int(weight.sum())
    if length < 1 or length * len(weight) > _LARGEST:
        raise UsageError(f"weights that sum to {length} for {len(weight)} items: wanted 1 to 2^63 / items")
    cut, other = buckets(weight * len(weight) - length, length)
    full = cut == length
    place = torch.where(full, _LARGEST, torch.where(full, 0, cut).double().div_(length).mul_(_PLACES).long())
    return torch.stack([place, torch.where(full, torch.arange(len(cut), device=cut.device), other)], dim=1)


def buckets(surplus: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """What each bucket has too much ``Long[I]``, negative where it lacks -> ``cut`` and ``other`` ``Long[I]``.

    Buckets are ``length`` long; bucket b gives item b below ``cut[b]``, else ``other[b]``.

    The sweep takes light items in order and fills each from the current heavy one; a heavy item that has
    given more than its surplus is then filled by the next. So light item k is filled by the first heavy
    one whose running surplus exceeds the lacks before k, and heavy item j ends at the first light one by
    which the running lack has reached its running surplus, short of a bucket by the difference.
    """
    light, heavy = (surplus < 0).nonzero().flatten(), (surplus >= 0).nonzero().flatten()
    lack = torch.cat([surplus.new_zeros(1), -surplus[light].cumsum(0)])  # [light + 1]
    given = surplus[heavy].cumsum(0)  # [heavy]
    cut, other = torch.full_like(surplus, length), torch.arange(len(surplus), device=surplus.device)
    cut[light] += surplus[light]
    other[light] = heavy[torch.searchsorted(given, lack[:-1], right=True)]
    cut[heavy] -= lack[torch.searchsorted(lack, given)] - given
    other[heavy] = torch.cat([heavy[1:], heavy[-1:]])
    return cut, other
