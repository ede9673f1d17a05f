"""Optimisers that move only the rows with a gradient, for tables of which a batch touches little.

A row is an entry of a parameter's first dimension; one whose gradient is zero throughout stays as it is, its
memory too. torch's SparseAdam asks for gradients in a sparse form of their own; these take dense ones. The
compiled engine does the same with the touched rows alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class SparseAdam(torch.optim.Optimizer):
    """Adam whose moments and steps reach only rows with a gradient: the rule of ``torch.optim.SparseAdam``.

    ``p -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)`` with t counted over all steps, so a row that is
    touched late starts with full steps. Memory: twice the parameters.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step on every row with a gradient. Cost: a pass over the gradients, and one over those rows."""
        for group in self.param_groups:
            (b1, b2), eps = group["betas"], group["eps"]
            for one in group["params"]:
                table, gradient, row = _touched(one)
                held = self.state[one]
                if not held:
                    held |= {name: torch.zeros_like(one) for name in ("exp_avg", "exp_avg_sq")}
                    held["step"] = 0
                held["step"] += 1
                first, second = (_rows(held[name]) for name in ("exp_avg", "exp_avg_sq"))
                first[row] = m = first[row].lerp(gradient, 1 - b1)
                second[row] = v = second[row].lerp(gradient.square(), 1 - b2)
                size = group["lr"] * (1 - b2 ** held["step"]) ** 0.5 / (1 - b1 ** held["step"])
                table[row] -= size * m / (v.sqrt() + eps)


class RowwiseAdagrad(torch.optim.Optimizer):
    """Adagrad with one sum a row, of the mean squared gradient: ``p -= lr g / (sqrt(sum mean(g^2)) + eps)``.

    The memory is one number a row instead of D, which tables of many millions of rows need (Gupta, Bengio and
    Weston, JMLR 2014; FBGEMM's default for embeddings).
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, lr: float, eps: float = 1e-10) -> None:
        super().__init__(parameters, {"lr": lr, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step on every row with a gradient."""
        for group in self.param_groups:
            for one in group["params"]:
                table, gradient, row = _touched(one)
                held = self.state[one]
                if not held:
                    held["sum"] = torch.zeros(len(table), dtype=one.dtype, device=one.device)
                held["sum"][row] += gradient.square().mean(1)
                table[row] -= group["lr"] * gradient / (held["sum"][row, None].sqrt() + group["eps"])


def _touched(one: nn.Parameter) -> tuple[Tensor, Tensor, Tensor]:
    """A parameter as rows ``[R, W]``, the gradient of those that have one ``[r, W]``, and which those are ``[r]``."""
    table = _rows(one)
    gradient = torch.zeros_like(table) if one.grad is None else _rows(one.grad)
    row = gradient.any(1).nonzero()[:, 0]
    return table, gradient[row], row


def _rows(one: Tensor) -> Tensor:
    return one.view(len(one), -1) if one.ndim else one.view(1, 1)
