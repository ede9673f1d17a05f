"""Steps of matrix factorisation with gradients in closed form: scores, losses, and one update of each touched row.

What a step means is that of a batch: gradients come from the rows as they stood, are summed over rows that occur
more than once, and every touched row moves once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from negsieve.errors import NonFiniteLoss, UsageError
from negsieve.kernels import native
from negsieve.kernels.losses import PairLoss, price_reference
from negsieve.kernels.rows import SIDES, RowMemory, dense_step, settle


class Report(NamedTuple):
    """What steps found: scores ``positive Float[B]`` and ``rated Float[B, K]`` of ``negative Long[B, K]``; ``loss``,
    ``penalty`` and ``slope`` ``Float[B]``, the slope being that of a row's own loss by its positive's score.
    """

    negative: Tensor
    positive: Tensor
    rated: Tensor
    loss: Tensor
    penalty: Tensor
    slope: Tensor

    def total(self, l2: float) -> float:
        """Mean loss and ``l2`` times the mean penalty."""
        return float(self.loss.double().mean() + l2 * self.penalty.double().mean()) if len(self.loss) else 0.0


def mf_step(
    users: Tensor,
    items: Tensor,
    *,
    user: Tensor,
    item: Tensor,
    negative: Tensor,
    memory: RowMemory,
    loss: PairLoss,
    lr: float,
    l2: float = 0.0,
    weight: Tensor | None = None,
    keep: Tensor | None = None,
) -> Report:
    """One step of ``users Float[U, D]`` and ``items Float[I, D]``, in place.

    user, item    the pairs, ``Long[B]``
    negative      ``Long[B, K]``, with ``weight Float[B, K]`` and ``keep Bool[B, K]`` as ``losses/given.py`` reads them
    memory        the optimiser's, made for these tables; it advances by one step
    l2            times half the squared rows that a batch row used, as ``models.base.row_penalty`` has it

    Scores are dot products. Rows are brought to the present before they are read. The bits do not depend on the
    number of threads. Raises NonFiniteLoss, with the Report as its ``report``, before any row is moved, where the
    total is not finite; IndexError for ids that are none; UsageError where K is 0.

    Cost: B (K + 1) dot products, as many sums of rows, and an update of the touched rows; only touched rows are read.
    """
    if negative.shape[1] == 0:
        raise UsageError("no negatives to set the positives against: wanted one a row or more")
    given = {"user": user, "item": item, "negative": negative, "weight": weight, "keep": keep}
    if not memory.serves(users, items) or not native.serves(*given.values()):
        return mf_step_reference(users, items, memory=memory, loss=loss, lr=lr, l2=l2, **given)
    given = {name: None if one is None else one.contiguous() for name, one in given.items()}
    report = room(given["negative"], users)
    done = native.module().mf_step(
        memory.compiled(),
        lr,
        memory.arrays(users, "user"),
        memory.arrays(items, "item"),
        given["user"],
        given["item"],
        given["weight"],
        given["keep"],
        loss.code(),
        l2,
        native.module().Reports(*report),
        native.threads(),
    )
    if not done:
        raise non_finite(report, l2)
    memory.advance(lr)
    return report


def mf_step_reference(
    users: Tensor,
    items: Tensor,
    *,
    user: Tensor,
    item: Tensor,
    negative: Tensor,
    memory: RowMemory,
    loss: PairLoss,
    lr: float,
    l2: float = 0.0,
    weight: Tensor | None = None,
    keep: Tensor | None = None,
) -> Report:
    """``mf_step`` in torch, by dense gradients."""
    for ids, table, name in ((user, users, "user"), (item, items, "item"), (negative, items, "negative")):
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < len(table):
            raise IndexError(f"{name} ids run {int(ids.min())}..{int(ids.max())}, wanted 0..{len(table) - 1}")
    users, items = users.detach(), items.detach()
    settle(users, items, memory=memory)
    own, liked, other = users[user], items[item], items[negative]  # [B, D], [B, D], [B, K, D]
    positive, rated = (own * liked).sum(1), (own[:, None] * other).sum(2)
    value, slope, slopes = price_reference(loss, positive, negative=rated, weight=weight, keep=keep)
    share = torch.ones_like(rated) if weight is None else weight
    share = share if keep is None else share * keep
    share = share / share.sum(1, keepdim=True).clamp_min(1e-12)  # [B, K]
    penalty = (own.square().sum(1) + liked.square().sum(1) + (other.square().sum(2) * share).sum(1)) / 2
    report = Report(negative, positive, rated, value, penalty, slope)
    if not torch.isfinite(torch.tensor(report.total(l2))):
        raise non_finite(report, l2)
    mean, factor = 1 / max(1, len(user)), slopes[:, :, None]
    by_user = slope[:, None] * liked + (factor * other).sum(1) + l2 * own
    by_item = slope[:, None] * own + l2 * liked
    by_negative = factor * own[:, None] + l2 * share[:, :, None] * other
    gradient = torch.zeros_like(users).index_add_(0, user, by_user * mean)
    dense_step(users, gradient, memory=memory, side="user", step=memory.step + 1, lr=lr)
    gradient = torch.zeros_like(items).index_add_(0, item, by_item * mean)
    gradient.index_add_(0, negative.flatten(), by_negative.flatten(0, 1) * mean)
    dense_step(items, gradient, memory=memory, side="item", step=memory.step + 1, lr=lr)
    memory.advance(lr)
    for side, ids in zip(SIDES, (user, torch.cat([item, negative.flatten()])), strict=True):
        clock = memory.clock[side]
        if clock is not None:
            clock[ids] = memory.step
            clock[clock > 0] = memory.step
    return report


def room(negative: Tensor, like: Tensor) -> Report:
    """A Report to be filled, of given negatives."""
    rows = [like.new_empty(len(negative)) for _ in range(4)]
    return Report(negative, rows[0], like.new_empty(negative.shape), *rows[1:])


def non_finite(report: Report, l2: float) -> NonFiniteLoss:
    """The error that names the first bad tensor of a refused step; its ``report`` is the step's."""
    named = {
        "score of the positive": report.positive,
        "score of the negatives": report.rated,
        "loss": report.loss,
        "penalty": report.penalty,
    }
    first = next((name for name, one in named.items() if not torch.isfinite(one).all()), "sum of the loss")
    error = NonFiniteLoss(f"the loss is {report.total(l2)}: the first bad tensor is the {first}. Nothing was updated.")
    error.report = report
    return error
