"""Keeps false negatives out: what a user has seen is masked, and only training data may say so.

A filter returns a mask instead of a shorter list, so shapes stay fixed. Several published codes
also masked validation and test items, which leaks the answers into training; here that takes an
index that says ``oracle=True`` of itself.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from negsieve.errors import UsageError
from negsieve.samplers.base import Stage
from negsieve.seen import Seen


class NotSeen(Stage):
    """Marks candidates that the row's user has seen, or that are the row's positive, ``keep=False``.

    seen  the pairs to exclude; their part must be "train", or the index an oracle's

    Cost: one look-up of what the user has a candidate; no score evaluation.
    """

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        refuse_leak(seen)
        self.seen = seen

    def refine(self, negatives, batch, scorer, rng):
        keep = unseen(self.seen, batch.user, negatives.item)  # [B, M]
        if batch.item is not None:
            keep &= negatives.item != batch.item[:, None]
        return replace(negatives, keep=keep if negatives.keep is None else keep & negatives.keep)


def refuse_leak(seen: Seen) -> None:
    """Raises ``UsageError`` unless ``seen`` holds training pairs or says that it is an oracle's."""
    if seen.part != "train" and not seen.oracle:
        raise UsageError(
            f"a sampler may read training pairs only, and these are {seen.part!r} pairs: knowing them while "
            "training leaks the answers. Pass the training part, or an index built with oracle=True for an "
            "experiment that is stamped as an oracle's"
        )


def unseen(seen: Seen, user: Tensor, item: Tensor) -> Tensor:
    """``user Long[B]``, ``item Long[B|1, M]`` -> ``Bool[B, M]``: True where the pair is not in ``seen``.

    Cost: that of ``Seen.contains``.
    """
    return ~seen.contains(user, item)
