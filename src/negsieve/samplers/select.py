"""Chooses among candidates by their scores: hard negatives, and soft versions of them.

Scores are read without gradient on the step's one forward pass; only what is chosen gets scored
again with gradient, by the loss. A candidate with ``keep=False`` is never chosen while a kept one
exists.
"""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor
from torch.nn.functional import softplus

from negsieve.errors import UsageError, nearest
from negsieve.kernels.hardest import highest
from negsieve.samplers.base import Stage
from negsieve.samplers.fused import hardest_unseen
from negsieve.schedule import LEAST, checked
from negsieve.types import Negatives

MODES = ("mean", "sum", "one")
_PER_CANDIDATE = [field.name for field in fields(Negatives) if field.name not in ("positive_log_q", "bound")]


class Hardest(Stage):
    """The ``m`` candidates that the model scores highest: DNS for m = 1, DNS(M,N) beyond.

    Of equal scores the candidate drawn first counts as the higher, on every path.

    m     how many of the candidates to choose
    mode  "mean": the loss averages over the m (their paper); "sum": it adds them (their code), so
          the gradient grows with m; "one": one of the m, drawn uniformly

    Shared candidates ``[1, M]`` become a choice a row, ``[B, m]``. Cost: M score evaluations a row
    without gradient; with even draws and a ``Dot`` in one pass that stores no candidates. Zhang et al.,
    SIGIR 2013; Shi et al., WWW 2023.
    """

    def __init__(self, m: int = 1, *, mode: str = "mean") -> None:
        super().__init__()
        if m < 1:
            raise UsageError(f"m={m}, wanted 1 or more")
        if mode not in MODES:
            raise UsageError(f"mode={mode!r}, wanted one of {', '.join(MODES)}.{nearest(mode, MODES)}")
        self.m, self.mode = m, mode

    def refine(self, negatives, batch, scorer, rng):
        if self.m > negatives.item.shape[1]:
            raise UsageError(
                f"the hardest {self.m} of {negatives.item.shape[1]} candidates: draw more, or choose fewer"
            )
        score = masked_scores(negatives, scorer)  # [B, M]
        return self._of_best(choose(negatives, highest(score, self.m)), score.dtype, rng)  # kept ones first

    def drawn_from(self, parts, batch, scorer, rng):
        best = hardest_unseen(parts[0], self.m, batch, scorer, rng) if len(parts) == 1 else None
        return None if best is None else self._of_best(best, scorer.query_side.dtype, rng)

    def _of_best(self, best: Negatives, dtype: torch.dtype, rng: torch.Generator) -> Negatives:
        """What the mode makes of each row's m best, hardest first."""
        if self.mode == "one" and self.m > 1:
            return choose(best, self._lot(best, rng))
        if self.mode == "sum":
            return replace(best, weight=torch.ones_like(best.item, dtype=dtype))
        return best

    def _lot(self, best: Negatives, rng: torch.Generator) -> Tensor:
        """A uniform place among the kept of each row's m best: ``Long[B, 1]``."""
        rows, device = len(best.item), best.item.device
        many = torch.full((rows,), self.m, device=device)
        if best.keep is not None:
            many = best.keep.sum(1).clamp_min(1)
        lot = (torch.rand(rows, generator=rng, device=device) * many).long()
        return torch.minimum(lot, many - 1)[:, None]


class SoftmaxWeight(Stage):
    """Weights every candidate by the softmax of its pairwise loss: Softmax-v(rho, N).

    With ``l_j = softplus(s_j - s_i)``, ``w_j = softmax(l_j / tau)`` and ``tau = sqrt(Var_j(l_j) / (2 rho))``
    a row (the variance of the kept candidates, divided by their number). ``rho`` towards 0 weighs all
    equally, towards infinity only the hardest. Rows without variance get equal weights. Weights carry
    no gradient and replace earlier ones.

    rho  above 0; a number or a schedule

    Cost: M + 1 score evaluations a row without gradient, then M with, in the loss.
    Shi et al., WWW 2023.
    """

    def __init__(self, rho: float | str = 1.0) -> None:
        super().__init__()
        self.rho = checked("rho", rho, least=LEAST)

    def refine(self, negatives, batch, scorer, rng):
        with torch.no_grad():
            gap = scorer.score(negatives.item) - scorer.score(batch.item[:, None])  # [B, M]
            loss = softplus(gap.to(torch.promote_types(gap.dtype, torch.float32)))  # a variance needs the digits
            keep = torch.ones_like(loss) if negatives.keep is None else negatives.keep.to(loss.dtype)
            many = keep.sum(1, keepdim=True).clamp_min(1)
            spread = loss - (loss * keep).sum(1, keepdim=True) / many
            tau = ((spread.square() * keep).sum(1, keepdim=True) / many / (2 * self.rho.value)).sqrt()  # [B, 1]
            flat = tau <= 0
            logit = (loss / tau.masked_fill(flat, 1.0)).masked_fill(flat, 0.0)
            weight = logit.masked_fill(keep == 0, torch.finfo(logit.dtype).min).softmax(1) * keep
        return replace(negatives, weight=weight)


def masked_scores(negatives: Negatives, scorer) -> Tensor:
    """Candidates' scores without gradient, ``Float[B, M]``; ``-inf`` where ``keep`` is False."""
    with torch.no_grad():
        return masked(scorer.score(negatives.item), negatives.keep)


def masked(score: Tensor, keep: Tensor | None) -> Tensor:
    """``score Float[B, M]``, and ``-inf`` where ``keep Bool[B, M]`` is False, below any score that is kept."""
    if keep is None:
        return score
    return score.clamp(min=torch.finfo(score.dtype).min).masked_fill(~keep, -torch.inf)


def choose(negatives: Negatives, place: Tensor) -> Negatives:
    """The candidates at ``place Long[B, m]`` with all that is known of each."""
    rows = len(place)

    def pick(value: Tensor) -> Tensor:
        value = value.expand(rows, *value.shape[1:])
        tail = value.shape[2:]
        return value.gather(1, place.reshape(*place.shape, *(1 for _ in tail)).expand(*place.shape, *tail))

    known = {name: getattr(negatives, name) for name in _PER_CANDIDATE}
    return replace(negatives, **{name: pick(value) for name, value in known.items() if value is not None})
