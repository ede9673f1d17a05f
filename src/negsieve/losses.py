"""Losses on given negatives. Each returns one value a positive, ``[B]``, unreduced.

A loss is a function ``(positive Float[B], negative Float[B, K], negatives) -> Float[B]`` of scores.
One rule says what several negatives mean: with ``weight`` their weighted sum; without, the mean over
those kept. A negative with ``keep=False`` never counts, not even with a NaN score, and a row with
nothing kept is 0 with zero gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor
from torch.nn.functional import softplus

from negsieve.errors import UsageError
from negsieve.types import Negatives

Loss = Callable[[Tensor, Tensor, Negatives], Tensor]


def bpr(positive: Tensor, negative: Tensor, negatives: Negatives) -> Tensor:
    """``softplus(s_j - s_i)``: Bayesian personalised ranking (Rendle et al., UAI 2009). ``Float[B]``."""
    negative, share = _shares(negative, negatives)
    return (softplus(negative - positive[:, None]) * share).sum(1)


def soft_bpr(positive: Tensor, negative: Tensor, negatives: Negatives, *, beta: PositiveFloat = 0.1) -> Tensor:
    """``softplus(beta (s_j - s_i))``: BPR with a soft factor (PDNS). ``Float[B]``.

    ``beta`` only rescales the scores, so for free embeddings it is confounded with the learning
    rate, the initial scale and L2. Report them together.
    """
    _above_zero("beta", beta)
    return bpr(beta * positive, beta * negative, negatives)


def bce(positive: Tensor, negative: Tensor, negatives: Negatives) -> Tensor:
    """``softplus(-s_i) + softplus(s_j)``: binary cross-entropy, negatives by the rule above. ``Float[B]``."""
    negative, share = _shares(negative, negatives)
    some = _some(negatives, positive)
    return softplus(-positive) * some + (softplus(negative) * share).sum(1)


def hinge(positive: Tensor, negative: Tensor, negatives: Negatives, *, margin: float = 1.0) -> Tensor:
    """``max(0, margin + s_j - s_i)``: the margin ranking loss. ``Float[B]``."""
    negative, share = _shares(negative, negatives)
    return (torch.relu(margin + negative - positive[:, None]) * share).sum(1)


def softmax(
    positive: Tensor,
    negative: Tensor,
    negatives: Negatives,
    *,
    temperature: PositiveFloat = 1.0,
    include_positive: bool = True,
    correct: Literal["none", "log_q", "importance"] = "none",
) -> Tensor:
    """Softmax over the positive and its negatives, scores divided by ``temperature``. ``Float[B]``.

    include_positive  True is InfoNCE, ``log(e^{s_i} + sum_j e^{s_j}) - s_i``; False leaves the
                      positive out of the sum, the SL form ``log sum_j e^{s_j} - s_i``
    correct           "none"; "log_q": subtract ``log_q`` from the negatives and ``positive_log_q``,
                      where there is one, from the positive (Yi et al., RecSys 2019); "importance":
                      subtract ``log_q + log K`` from the negatives alone, which makes the sum an
                      unbiased estimate of the one over all items that can be drawn

    Here negatives are summed, not averaged; weights are factors of ``e^{s_j}``. Raises ``UsageError``
    if a correction is asked and the sampler gives no ``log_q``.
    """
    _above_zero("temperature", temperature)
    own, other = positive / temperature, negative / temperature
    if correct != "none":
        own, other = _corrected(own, other, negatives, correct)
    other, dead = _logits(other, negatives)
    line = torch.cat([own[:, None], other], dim=1) if include_positive else other
    value = torch.logsumexp(line, dim=1) - own
    return value if dead is None else value.masked_fill(dead, 0.0)


def k_pair(positive: Tensor, negative: Tensor, negatives: Negatives) -> Tensor:
    """``log(1 + sum_j e^{s_j - s_i})``: MixGCF's loss, equal to ``softmax`` at temperature 1. ``Float[B]``."""
    other, dead = _logits(negative - positive[:, None], negatives)
    value = softplus(torch.logsumexp(other, dim=1))
    return value if dead is None else value.masked_fill(dead, 0.0)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "bpr": bpr,
    "soft_bpr": soft_bpr,
    "bce": bce,
    "hinge": hinge,
    "softmax": softmax,
    "k_pair": k_pair,
}
"""Name -> loss. What follows the three tensors is the loss's own parameters."""


def _above_zero(name: str, value: float) -> None:
    if not value > 0:
        raise UsageError(f"{name}={value}, wanted a number above 0")


def _shares(negative: Tensor, negatives: Negatives) -> tuple[Tensor, Tensor | float]:
    """Scores with dropped ones made harmless ``[B, K]``, and each negative's factor in the row's sum."""
    keep, weight = negatives.keep, negatives.weight
    if keep is None:
        return negative, 1.0 / negative.shape[1] if weight is None else weight
    negative = negative.masked_fill(~keep, 0.0)
    if weight is not None:
        return negative, weight.masked_fill(~keep, 0.0)
    kept = keep.to(negative.dtype)
    return negative, kept / kept.sum(1, keepdim=True).clamp_min(1.0)


def _some(negatives: Negatives, like: Tensor) -> Tensor | float:
    """1 for the rows that keep a negative, 0 for the others."""
    return 1.0 if negatives.keep is None else negatives.keep.any(1).to(like.dtype)


def _logits(value: Tensor, negatives: Negatives) -> tuple[Tensor, Tensor | None]:
    """Exponents with ``-inf`` for dropped negatives, and the rows ``Bool[B]`` that have none.

    Rows with none get zeros instead, because ``logsumexp`` of nothing has a NaN gradient; the
    caller blanks them.
    """
    if negatives.weight is not None:
        value = value + negatives.weight.clamp_min(torch.finfo(value.dtype).tiny).log()
    if negatives.keep is None:
        return value, None
    dead = ~negatives.keep.any(1)
    return value.masked_fill(~negatives.keep, -torch.inf).masked_fill(dead[:, None], 0.0), dead


def _corrected(own: Tensor, other: Tensor, negatives: Negatives, correct: str) -> tuple[Tensor, Tensor]:
    if correct not in ("log_q", "importance"):
        raise UsageError(f"correct={correct!r}, wanted 'none', 'log_q' or 'importance'")
    if negatives.log_q is None:
        raise UsageError(f"correct={correct!r} needs a sampler that gives log_q; uniform, popularity and in_batch do")
    other = other - negatives.log_q
    if correct == "importance":
        many = other.shape[1] if negatives.keep is None else negatives.keep.sum(1, keepdim=True).clamp_min(1)
        return own, other - torch.as_tensor(many, dtype=other.dtype, device=other.device).log()
    return own if negatives.positive_log_q is None else own - negatives.positive_log_q, other
