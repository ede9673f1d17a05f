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
from negsieve.kernels.hardest import highest_reference
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
    refuse_none(negative)
    given = {"user": user, "item": item, "weight": weight, "keep": keep}
    if not memory.serves(users, items) or not native.serves(negative, *given.values()):
        return mf_step_reference(users, items, negative=negative, memory=memory, loss=loss, lr=lr, l2=l2, **given)
    bound = torch.tensor([0, len(user)])
    report = room(negative.contiguous(), users)
    done = run(
        users, items, bound=bound, candidate=None, memory=memory, loss=loss, lr=lr, l2=l2, report=report, **given
    )
    if not done:
        raise non_finite(report, l2)
    return report


def mf_steps(
    users: Tensor,
    items: Tensor,
    *,
    user: Tensor,
    item: Tensor,
    candidate: Tensor,
    m: int | None,
    bound: Tensor | None,
    memory: RowMemory,
    loss: PairLoss,
    lr: float,
    l2: float = 0.0,
    weight: Tensor | None = None,
    keep: Tensor | None = None,
) -> tuple[Report, int]:
    """Many steps in one call: the Report of all rows, and how many steps were done.

    bound         ``Long[S + 1]``: step s has rows ``bound[s] .. bound[s + 1]`` of ``user`` and ``item Long[n]``; None:
                  every row is a step of its own, by ``sgd`` alone
    candidate     ``Long[n, H]``, such as all steps' draws, which no step changes
    m             the negatives are each row's ``m`` hardest candidates by the scores of its step, as
                  ``hardest.highest`` orders them; None: all candidates, as they are
    weight, keep  of the negatives, ``[n, m]``

    The rest is ``mf_step``'s, and with ``bound`` so are the bits: those of S calls of ``catch_up`` on the candidates,
    ``highest`` on their scores, and ``mf_step``. Steps of one row follow from each other, so one thread does them.
    The first step whose total is not finite is not done, nor any after it; the Report then holds it too. Raises
    UsageError where no negative is left, H is above 4096, or another rule than ``sgd`` shall do steps of one row;
    IndexError for ids that are none.

    Cost: H dot products a row beside the steps; with ``adam`` every candidate is brought to the present first.
    """
    check_choice(candidate, m)
    if bound is None and memory.rule.kind != "sgd":
        raise UsageError(f"steps of one row each by {memory.rule.kind}: only sgd does them")
    given = {"user": user, "item": item, "weight": weight, "keep": keep}
    if not memory.serves(users, items) or not native.serves(candidate, *given.values()):
        return mf_steps_reference(
            users, items, candidate=candidate, m=m, bound=bound, memory=memory, loss=loss, lr=lr, l2=l2, **given
        )
    candidate = candidate.contiguous()
    report = room(candidate if m is None else candidate.new_empty(len(user), m), users)
    candidate = None if m is None else candidate
    how = {"memory": memory, "loss": loss, "lr": lr, "l2": l2}
    return report, run(users, items, bound=bound, candidate=candidate, report=report, **how, **given)


def run(users, items, *, user, item, bound, candidate, weight, keep, memory, loss, lr, l2, report) -> int:
    """The steps by the kernel, into ``report``; how many were done."""
    weight, keep = (None if one is None else one.contiguous() for one in (weight, keep))
    done = native.module().mf_steps(
        memory.compiled(),
        lr,
        memory.arrays(users, "user"),
        memory.arrays(items, "item"),
        user.contiguous(),
        item.contiguous(),
        None if bound is None else bound.contiguous(),
        candidate,
        weight,
        keep,
        loss.code(),
        l2,
        native.module().Reports(*report),
        native.threads(),
    )
    memory.advance(lr, steps=done)
    return done


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
    liked_and_not, by_either = torch.cat([item, negative.flatten()]), torch.cat([by_item, by_negative.flatten(0, 1)])
    _move(users, user, by_user * mean, memory=memory, side="user", lr=lr)
    _move(items, liked_and_not, by_either * mean, memory=memory, side="item", lr=lr)
    memory.advance(lr)
    for side, ids in zip(SIDES, (user, liked_and_not), strict=True):
        clock = memory.clock[side]
        if clock is not None:
            clock[ids] = memory.step
            clock[clock > 0] = memory.step
    return report


def _move(table: Tensor, ids: Tensor, gradient: Tensor, *, memory: RowMemory, side: str, lr: float) -> None:
    """A step of the rows ``ids Long[n]``, which may repeat, by their gradients ``Float[n, D]``."""
    if memory.rule.kind == "sgd":  # which leaves other rows alone: steps of one row need not pass over the table
        table.index_add_(0, ids, gradient, alpha=-lr)
        return
    dense = torch.zeros_like(table).index_add_(0, ids, gradient)
    dense_step(table, dense, memory=memory, side=side, step=memory.step + 1, lr=lr)


def mf_steps_reference(
    users: Tensor,
    items: Tensor,
    *,
    user: Tensor,
    item: Tensor,
    candidate: Tensor,
    m: int | None,
    bound: Tensor | None,
    memory: RowMemory,
    loss: PairLoss,
    lr: float,
    l2: float = 0.0,
    weight: Tensor | None = None,
    keep: Tensor | None = None,
) -> tuple[Report, int]:
    """``mf_steps`` in torch, a step at a time."""
    check_choice(candidate, m)
    many = candidate.shape[1] if m is None else m
    bound = torch.arange(len(user) + 1) if bound is None else bound
    report = Report(*(one.zero_() for one in room(candidate.new_empty(len(user), many), users)))
    for step, (first, last) in enumerate(zip(bound[:-1].tolist(), bound[1:].tolist(), strict=True)):
        own, negative = slice(first, last), candidate[first:last]
        if m is not None:
            settle(users, items, memory=memory)
            rated = (users.detach()[user[own], None] * items.detach()[negative]).sum(2)  # [b, H]
            negative = negative.gather(1, highest_reference(rated, m))
        given = {name: None if one is None else one[own] for name, one in (("weight", weight), ("keep", keep))}
        given |= {"user": user[own], "item": item[own], "negative": negative}
        before = memory.step
        try:
            found = mf_step_reference(users, items, memory=memory, loss=loss, lr=lr, l2=l2, **given)
        except NonFiniteLoss as error:
            found = error.report
        for whole, part in zip(report, found, strict=True):
            whole[own] = part
        if memory.step == before:
            return report, step
    return report, len(bound) - 1


def check_choice(candidate: Tensor, m: int | None) -> None:
    """Raises UsageError where no ``m`` candidates can be chosen."""
    refuse_none(candidate)
    if m is not None and not 1 <= m <= candidate.shape[1] <= 4096:
        raise UsageError(f"the {m} hardest of {candidate.shape[1]} candidates: choose 1 or more of at most 4096")


def refuse_none(negative: Tensor) -> None:
    """Raises UsageError when there is nothing to set the positives against."""
    if negative.shape[1] == 0:
        raise UsageError("no negatives to set the positives against: wanted one a row or more")


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
