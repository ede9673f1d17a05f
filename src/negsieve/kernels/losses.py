"""Losses of a positive against its negatives, with their gradients: what the compiled steps know.

``losses/`` defines them; here are their values and slopes in closed form, for steps without autograd.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from negsieve.errors import UsageError
from negsieve.kernels import native

KINDS = ("bpr", "soft_bpr", "bce", "hinge", "softmax")


@dataclass(frozen=True, slots=True)
class PairLoss:
    """One of ``losses.bpr``, ``soft_bpr``, ``bce``, ``hinge`` and ``softmax`` (``correct="none"``), with its settings.

    Each kind reads the settings of its own name and no other. Raises UsageError for another kind.
    """

    kind: str
    beta: float = 0.1
    margin: float = 1.0
    temperature: float = 1.0
    include_positive: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"loss {self.kind!r}, wanted one of {', '.join(KINDS)}")
        for name in ("beta", "temperature"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name}={getattr(self, name)}, wanted a number above 0")

    @property
    def scale(self) -> float:
        """What multiplies scores before anything else."""
        return {"soft_bpr": self.beta, "softmax": 1.0 / self.temperature}.get(self.kind, 1.0)

    def code(self) -> tuple[int, float, float, bool]:
        """As the kernels take it."""
        return KINDS.index(self.kind), self.scale, self.margin, self.include_positive


class Prices(NamedTuple):
    """``value Float[B]``, and how it changes with each score: ``positive Float[B]``, ``negative Float[B, K]``."""

    value: Tensor
    positive: Tensor
    negative: Tensor


def price(
    loss: PairLoss, positive: Tensor, *, negative: Tensor, weight: Tensor | None = None, keep: Tensor | None = None
) -> Prices:
    """Values and slopes of rows of scores: ``positive Float[B]``, ``negative Float[B, K]``.

    ``weight Float[B, K]`` and ``keep Bool[B, K]`` mean what they mean to ``losses/given.py``. Cost: an
    exponential, a logarithm and two divisions a score. Raises UsageError where K is 0.
    """
    _refuse_none(negative)
    if not native.serves(positive, negative, weight, keep) or positive.dtype != torch.float32:
        return price_reference(loss, positive, negative=negative, weight=weight, keep=keep)
    out = Prices(torch.empty_like(positive), torch.empty_like(positive), negative.new_empty(negative.shape))
    weight, keep = (None if one is None else one.contiguous() for one in (weight, keep))
    native.module().price(
        *loss.code(), positive.contiguous(), negative.contiguous(), weight, keep, *out, native.threads()
    )
    return out


def price_reference(
    loss: PairLoss, positive: Tensor, *, negative: Tensor, weight: Tensor | None = None, keep: Tensor | None = None
) -> Prices:
    """``price`` in torch."""
    _refuse_none(negative)
    keep = torch.ones_like(negative, dtype=torch.bool) if keep is None else keep
    some = keep.any(1)
    if loss.kind == "softmax":
        return _softmax(loss, positive, negative, weight, keep, some)
    kept = keep.to(negative.dtype)
    share = kept / kept.sum(1, keepdim=True).clamp_min(1.0) if weight is None else weight.masked_fill(~keep, 0.0)
    negative = negative.masked_fill(~keep, 0.0)
    if loss.kind == "bce":
        value = softplus(-positive) * some + (softplus(negative) * share).sum(1)
        return Prices(value, -torch.sigmoid(-positive) * some, torch.sigmoid(negative) * share)
    gap = negative - positive[:, None]
    if loss.kind == "hinge":
        value, slope = torch.relu(loss.margin + gap), (loss.margin + gap > 0).to(gap.dtype) * share
    else:
        value, slope = softplus(loss.scale * gap), loss.scale * torch.sigmoid(loss.scale * gap) * share
    return Prices((value * share).sum(1), -slope.sum(1), slope)


def _softmax(loss: PairLoss, positive, negative, weight, keep, some) -> Prices:
    own, other = positive * loss.scale, negative * loss.scale
    if weight is not None:
        other = other + weight.clamp_min(torch.finfo(weight.dtype).tiny).log()
    other = other.masked_fill(~keep, -torch.inf).masked_fill(~some[:, None], 0.0)
    line = torch.cat([own[:, None], other], dim=1) if loss.include_positive else other
    total = torch.logsumexp(line, dim=1)
    first = (own - total).exp() if loss.include_positive else torch.zeros_like(own)
    slope = loss.scale * (other - total[:, None]).exp()
    return Prices(
        torch.where(some, total - own, 0.0),
        torch.where(some, loss.scale * (first - 1), 0.0),
        slope.masked_fill(~some[:, None], 0.0),
    )


def _refuse_none(negative: Tensor) -> None:
    if negative.shape[1] == 0:
        raise UsageError("no negatives to set the positives against: wanted one a row or more")
