"""Sampled evaluation: each held-out item is ranked among n items drawn once for it.

Some protocols need it to compare with published numbers. It is biased: a rank among 99 random items
says little about the head of a ranking of all items, and it can reverse the order of two models
(Krichene and Rendle, KDD 2020). So its metrics carry a prefix and its results say ``biased``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from negsieve.data.dataset import PARTS, Dataset
from negsieve.errors import NegsieveError, UsageError
from negsieve.evaluation.metrics import AUC, Metric, at_place
from negsieve.rng import derive
from negsieve.scorers import Encoder
from negsieve.seen import Seen
from negsieve.types import Batch

TIES = ("number", "half", "optimistic")
_ROWS = 8192  # pairs drawn together: bounds memory, and is part of what a seed means


def candidates(dataset: Dataset, part: str, *, n_negatives: int = 99, seed: int = 42) -> dict[str, np.ndarray]:
    """Draws ``n_negatives`` distinct items for every held-out pair, none of them the user's in any part.

    Returns plain arrays, to be saved and used again: "user" ``int64[p]``, "item" ``int64[p]`` (ordered by
    user, then item), "negatives" ``int64[p, n]`` ascending, "seed" ``int64[]``. Where a user has fewer
    than n items left, all of them are taken and the rest is -1.

    Every set of n unseen items is equally likely, and pairs are drawn independently. No draw is rejected.
    Cost: n * (n / 2 + log(train)) operations a pair. Raises UsageError for another part or n < 1.
    """
    if part not in PARTS[1:]:
        raise UsageError(f"part={part!r}: candidates are drawn for 'valid' or 'test'")
    if n_negatives < 1:
        raise UsageError(f"n_negatives={n_negatives}: at least one item must be drawn")
    held = dataset.valid if part == "valid" else dataset.test
    known = dataset.seen(*PARTS)
    user, item = held.owner.cpu().numpy(), held.item.cpu().numpy()
    free = dataset.n_items - known.degree().cpu().numpy()[user]  # unseen items of each pair's user  # [p]
    rng = np.random.default_rng(derive("sampled candidates", PARTS.index(part), n_negatives, seed=seed))
    drawn = [
        _unseen(known, user[at : at + _ROWS], distinct(free[at : at + _ROWS], n_negatives, rng))
        for at in range(0, len(user), _ROWS)
    ]
    empty = np.empty((0, n_negatives), dtype=np.int64)
    return {
        "user": user.copy(),
        "item": item.copy(),
        "negatives": np.concatenate([empty, *drawn]),
        "seed": np.asarray(seed, dtype=np.int64),
    }


def distinct(bound: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """``n`` distinct numbers from ``range(bound[i])`` for each row i, all sets equally likely: ``int64[p, n]``.

    Ascending. A row with bound <= n gets all its numbers, then -1. Floyd's algorithm (Bentley and Floyd,
    CACM 1987): step j draws from 0..j and takes j itself where the draw is already in.
    """
    chosen = np.full((len(bound), n), -1, dtype=np.int64)
    for step in range(n):
        top = bound - n + step  # the largest number this step may take; negative: the row is short
        draw = (rng.random(len(bound)) * (top + 1)).astype(np.int64)
        draw = np.minimum(draw, top)
        again = (chosen[:, :step] == draw[:, None]).any(1)
        chosen[:, step] = np.where(top < 0, -1, np.where(again, top, draw))
    chosen[chosen < 0] = np.iinfo(np.int64).max
    chosen.sort(axis=1)
    chosen[chosen == np.iinfo(np.int64).max] = -1
    return chosen


def _unseen(known: Seen, user: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """The ``rank``-th item, in ascending order, that each user has not seen; rank -1 stays -1: ``int64[p, n]``.

    The i-th seen item of a user, s_i, has s_i - i unseen items before it, so the r-th unseen item is r plus
    the number of seen items with s_i - i <= r: one binary search over all users' seen items.
    """
    wide = known.n_items + 1
    offset, owner = known.offset.cpu().numpy(), known.owner.cpu().numpy()
    before = known.item.cpu().numpy() - (np.arange(len(owner)) - offset[owner])  # s_i - i
    place = np.searchsorted(owner * wide + before, user[:, None] * wide + np.maximum(rank, 0), side="right")
    return np.where(rank < 0, -1, rank + place - offset[user][:, None])


def check(chosen: dict[str, np.ndarray], held: Seen) -> None:
    """Raises UsageError where saved candidates do not belong to the held-out pairs ``held``."""
    missing = {"user", "item", "negatives", "seed"} - set(chosen)
    if missing:
        raise UsageError(f"the saved candidates lack {', '.join(sorted(missing))}: draw them again")
    same = np.array_equal(chosen["user"], held.owner.cpu().numpy()) and np.array_equal(
        chosen["item"], held.item.cpu().numpy()
    )
    shape = np.shape(chosen["negatives"])
    if not same or len(shape) != 2 or shape[0] != len(held):
        raise UsageError(
            f"the saved candidates hold {len(chosen['user'])} pairs that are not the {len(held)} held-out pairs of "
            "this data set: they were drawn for another split; draw them again"
        )
    if shape[1] and (np.min(chosen["negatives"]) < -1 or np.max(chosen["negatives"]) >= held.n_items):
        raise UsageError(f"the saved candidates name items outside 0..{held.n_items - 1}: draw them again")


def pair_values(
    encoder: Encoder,
    chosen: dict[str, np.ndarray],
    metrics: Sequence[Metric],
    *,
    chunk: int,
    device: str | torch.device = "cpu",
    ties: str = "number",
) -> dict[str, Tensor]:
    """Every metric's value for each held-out pair, ``Double[p]``; a list with one relevant item.

    The held-out item's place is 1 + the candidates with a higher score + its share of those with an equal one:
    "number": those of a lower item number, the tie rule of full ranking; "half": half of them; "optimistic": none.
    "auc" is the share of candidates outranked, ties always half.
    """
    user, item, negatives = (torch.from_numpy(np.ascontiguousarray(chosen[n])) for n in ("user", "item", "negatives"))
    above, ahead, equal, number = [], [], [], []
    for at in range(0, len(user), chunk):
        rows = slice(at, at + chunk)
        own, others = _scores(encoder, user[rows], item[rows], negatives[rows], device)
        real = negatives[rows] >= 0
        higher, tie = (others > own) & real, (others == own) & real
        above.append(higher.sum(1))
        equal.append(tie.sum(1))
        ahead.append((tie & (negatives[rows] < item[rows, None])).sum(1))
        number.append(real.sum(1))
    higher, equal, ahead, number = (torch.cat(side) for side in (above, equal, ahead, number))
    lost = {"number": ahead, "half": equal / 2, "optimistic": torch.zeros_like(equal)}[ties]
    place = (higher + lost).double()  # from 0  # [p]
    values = {}
    for metric in metrics:
        if metric.name == AUC:
            right = (number - higher).double() - equal.double() / 2
            values[str(metric)] = torch.where(number > 0, right / number.clamp_min(1), 0.5)
        else:
            values[str(metric)] = at_place(metric, place)
    return values


def _scores(encoder: Encoder, user: Tensor, item: Tensor, negatives: Tensor, device) -> tuple[Tensor, Tensor]:
    """Scores of the held-out item ``[c, 1]`` and of its candidates ``[c, n]``, on the CPU; NaN refused."""
    asked = torch.cat([item[:, None], negatives.clamp_min(0)], dim=1)  # [c, 1 + n]
    with torch.no_grad():
        score = encoder(Batch(user.to(device))).score(asked.to(device)).cpu()
    if bool(score.isnan().any()):
        row = int(score.isnan().any(1).nonzero()[0, 0])
        raise NegsieveError(f"the scores of user number {int(user[row])} hold NaN: they cannot be ranked")
    return score[:, :1], score[:, 1:]
