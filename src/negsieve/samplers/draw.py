"""Exact weighted drawing with exclusion: what a row may not have never comes out, whatever the data.

Give every item a whole-number weight. A draw is tried from the weights of all items, refused if the row may
not have the item, and after eight refusals looked up among what the row may have: see kernels/draw.py. All of
it is a function of (key, row, draw), so neither the order of rows and batches nor the number of threads
changes a draw, and no residual false negative is left.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from negsieve.errors import UsageError, nearest
from negsieve.kernels.counter import below, draw_key, words
from negsieve.kernels.draw import Weights, draw_even, draw_weighted
from negsieve.kernels.membership import Rows
from negsieve.samplers.aliastable import alias_table
from negsieve.samplers.base import Composition, LawfulSampler
from negsieve.samplers.filter import refuse_leak, unseen
from negsieve.samplers.frequency import Frequency
from negsieve.seen import Seen
from negsieve.types import Batch, Negatives

_LARGEST = 2**63 - 1
_UNITS, _FINEST = 2**40, 2**53
EXCLUDE = ("train", "positive", "none")


def powered(popularity: Tensor, *, alpha: float) -> Tensor | None:
    """Integer weights proportional to ``popularity ** alpha``: ``Long[I]``, or None when all are equal.

    Their sum is about 2^40, less where an alias table of more than 2^23 items would not fit 64 bits. An item
    without interactions has no weight unless ``alpha`` is 0; any other keeps at least one unit.
    Each weight is off by less than one unit, so a probability p by less than I * 2^-40 of itself
    for items of average weight.
    """
    if alpha == 0:
        return None
    units = min(_UNITS, _LARGEST // max(len(popularity), 1)) - len(popularity)
    count = popularity.to(torch.float64)
    if not bool((count > 0).any()):
        raise UsageError("no item has any interaction: popularity sampling needs training data")
    mass = torch.where(count > 0, count.clamp_min(1e-300).pow(alpha), 0.0)
    if units <= 0 or not bool(mass.isfinite().all()):
        raise UsageError(f"alpha={alpha} over {len(popularity)} items does not fit 64-bit weights; use a smaller alpha")
    return torch.where(count > 0, (mass * (units / mass.sum())).long().clamp_min(1), 0)


class Line(nn.Module):
    """All items laid end to end, each as long as its weight. ``weight`` None: one unit each."""

    def __init__(self, n_items: int, weight: Tensor | None) -> None:
        super().__init__()
        self.n_items, self.even = n_items, weight is None
        self.length = n_items if weight is None else int(weight.sum())
        if self.length < 1:
            raise UsageError("there is nothing to draw from: no item has any weight")
        if self.length > _FINEST:
            raise UsageError(f"the weights sum to {self.length}, wanted at most 2^53: a draw has 53 bits")
        if weight is None:
            return
        if weight.dtype != torch.long or weight.shape != (n_items,) or bool((weight < 0).any()):
            raise UsageError(f"weight must be Long[{n_items}] and not negative, found {tuple(weight.shape)}")
        keep = {"weight": weight, "edge": weight.cumsum(0), "log_weight": weight.double().clamp_min(1).log().float()}
        for name, value in keep.items():
            self.register_buffer(name, value, persistent=False)

    def at(self, unit: Tensor) -> Tensor:
        """The item that holds each unit; a unit behind the end gives the last item."""
        item = unit if self.even else torch.searchsorted(self.edge, unit, right=True)
        return item.clamp_(max=self.n_items - 1)

    def of(self, item: Tensor) -> Tensor:
        """Each item's weight."""
        return torch.ones_like(item) if self.even else self.weight[item]

    def log(self, item: Tensor) -> Tensor | float:
        """Each item's log weight; an item without weight counts as one unit."""
        return 0.0 if self.even else self.log_weight[item]


class Weighted(LawfulSampler):
    """K independent draws a row, each from the weights of the items that the row may have.

    n_items      I
    seen         what each user has; "train" pairs, or an oracle's
    n_negatives  K; draws are with replacement
    weight       ``Long[I]`` from ``powered``; None: uniform
    exclude      "train": everything the row's user has in ``seen``; "positive": only the row's own
                 positive; "none": nothing

    A draw depends on the generator's next key and the row's number (``Batch.number``) alone, not on what else
    is in the batch. ``log_q`` is the exact conditional law, ``log w_j - log(W - W_u)``. ``keep`` is None unless
    some user has seen every item with weight; that user's rows get item 0 with ``keep=False``.

    Cost: a random word and a look-up of what the user has a draw, more where draws are refused; no score
    evaluation. Memory beside ``seen``: 12 bytes a user, and when weighted 36 an item and 8 a pair.
    """

    def __init__(
        self,
        n_items: int,
        *,
        seen: Seen,
        n_negatives: int = 1,
        weight: Tensor | None = None,
        exclude: str = "train",
    ) -> None:
        super().__init__()
        _check(n_items, seen, n_negatives)
        if exclude not in EXCLUDE:
            raise UsageError(f"exclude={exclude!r}, wanted one of {', '.join(EXCLUDE)}.{nearest(exclude, EXCLUDE)}")
        self.n_items, self.n_negatives, self.exclude = n_items, n_negatives, exclude
        self.line = Line(n_items, weight)
        if weight is not None:
            self.register_buffer("table", alias_table(weight), persistent=False)
        if exclude == "train":
            refuse_leak(seen)
            self.seen = seen
            self._weigh(seen)
            self.saturable = bool((self.free <= 0).any())
        else:
            heaviest = 1 if weight is None else int(weight.max())
            self.saturable = exclude == "positive" and heaviest == self.line.length

    def _weigh(self, seen: Seen) -> None:
        """Lays down the weight that each user may have, and when weighted the weight of all pairs before each."""
        if self.line.even:
            free = self.line.length - seen.degree()  # [U]
        else:
            held = running(self.line.of(seen.item))  # [n + 1]
            free = self.line.length - (held[seen.offset[1:]] - held[seen.offset[:-1]])
            self.register_buffer("held", held, persistent=False)
        self.register_buffer("free", free, persistent=False)
        self.register_buffer("log_free", free.clamp_min(1).double().log().float(), persistent=False)

    def sample(self, batch, scorer, rng):
        return self.known_of(batch, self.draw(batch, draw_key(rng)))

    def draw(self, batch: Batch, key: int) -> Tensor:
        """The items of ``sample`` alone, for the generator's next key: ``Long[B, K]``."""
        user, rows = self._refused(batch)
        draw = {"user": user, "rows": rows, "n": self.n_negatives}
        if self.line.even:
            return draw_even(key, batch.number, **draw)
        weights = Weights(self.table, self.line.edge, self._held(rows))
        return draw_weighted(key, batch.number, weights=weights, **draw)

    def keep(self, batch: Batch) -> Tensor | None:
        """Which rows have anything to draw from, ``Bool[B]``; None where all have."""
        return self._free(batch) > 0 if self.saturable else None

    def known_of(self, batch: Batch, item: Tensor) -> Negatives:
        """Draws for the rows of a batch, ``Long[B, K]``, with all that is known of them."""
        keep = self.keep(batch)
        keep = None if keep is None else keep[:, None].expand(item.shape)
        return Negatives(item, keep=keep, log_q=self._log_q(item, batch, self._free(batch)))

    def _refused(self, batch) -> tuple[Tensor, Rows]:
        """What each row may not have, as rows of items, and which of them is whose ``Long[B]``."""
        if self.exclude == "train":
            return batch.user, self.seen.rows
        many, device = len(batch), batch.user.device
        if self.exclude == "positive":
            offset = torch.arange(many + 1, device=device)
            return offset[:-1], Rows(offset, batch.item.int(), self.n_items, 1)
        nothing = torch.zeros(0, dtype=torch.int32, device=device)
        offset = torch.zeros(2, dtype=torch.long, device=device)
        return torch.zeros_like(batch.user), Rows(offset, nothing, self.n_items, 0)

    def _held(self, rows: Rows) -> Tensor:
        return self.held if self.exclude == "train" else running(self.line.of(rows.item))

    def _free(self, batch) -> Tensor | int:
        """The weight that each row may have, ``Long[B]``, or one number for all."""
        if self.exclude == "train":
            return self.free[batch.user]
        return self.line.length - (self.line.of(batch.item) if self.exclude == "positive" else 0)

    def log_prob(self, batch, item):
        """``-inf`` for what the row may not have, and for items without weight."""
        if self.exclude == "train":
            owned = self.seen.contains(batch.user, item)
        elif self.exclude == "positive":
            owned = item == batch.item[:, None]
        else:
            owned = torch.zeros_like(item, dtype=torch.bool)
        log_q = self._log_q(item.expand(len(owned), -1), batch, self._free(batch))
        return log_q.masked_fill(owned | (self.line.of(item) == 0), -torch.inf)

    def log_share(self, item: Tensor) -> Tensor:
        """Each item's log-probability where nothing is kept out, ``Float`` as ``item``."""
        length = torch.tensor(self.line.length, dtype=torch.float64, device=item.device)
        return torch.zeros(item.shape, device=item.device) + (self.line.log(item) - length.log().float())

    def _log_q(self, item: Tensor, batch, free) -> Tensor:
        if self.exclude == "train":
            log_free = self.log_free[batch.user][:, None]  # [B, 1]
        else:
            log_free = torch.as_tensor(free, device=item.device).clamp_min(1).float().log().reshape(-1, 1)
        return (self.line.log(item) - log_free).expand(item.shape)


class Shared(LawfulSampler):
    """One set of K draws for the whole batch, ``item [1, K]``: a loss then costs one matmul.

    The draws follow the weights without regard to users; ``keep`` masks, row by row, what the
    user has seen and the row's positive. ``log_q`` and ``positive_log_q`` are of that one law.

    Cost: K draws a batch; no score evaluation before the loss.
    """

    def __init__(self, n_items: int, *, seen: Seen, n_negatives: int = 256, weight: Tensor | None = None) -> None:
        super().__init__()
        _check(n_items, seen, n_negatives)
        refuse_leak(seen)
        self.n_items, self.n_negatives = n_items, n_negatives
        self.seen, self.line = seen, Line(n_items, weight)
        self.log_length = float(torch.tensor(self.line.length, dtype=torch.float64).log())

    def sample(self, batch, scorer, rng):
        device = batch.user.device
        one = torch.zeros(1, dtype=torch.long, device=device)
        item = self.line.at(below(words(draw_key(rng), one, self.n_negatives), self.line.length))  # [1, K]
        keep = unseen(self.seen, batch.user, item)
        log_q = torch.zeros(item.shape, device=device) + (self.line.log(item) - self.log_length)
        if batch.item is None:
            return Negatives(item, keep=keep, log_q=log_q)
        keep &= item != batch.item[:, None]
        own = torch.zeros(len(batch), device=device) + (self.line.log(batch.item) - self.log_length)
        return Negatives(item, keep=keep, log_q=log_q, positive_log_q=own)

    def log_prob(self, batch, item):
        """One law for all rows, ``[B|1, M]`` as ``item``; ``-inf`` for items without weight."""
        value = torch.zeros(item.shape, device=item.device) + (self.line.log(item) - self.log_length)
        return value.masked_fill(self.line.of(item) == 0, -torch.inf)


class InBatch(Composition, LawfulSampler):
    """The other rows' positives are a row's negatives, ``item [1, B]`` (Yi et al., RecSys 2019).

    popularity  ``Long[I]``, train counts: an item is in a batch as often as it is in the training
                table, so ``log_q = log(count / total)``
    frequency   an estimate from the stream of batches that replaces that law

    ``keep`` masks the row itself, equal items, and what the row's user has seen. Uses no
    randomness. Cost: B scores a positive, by one matmul.
    """

    def __init__(self, popularity: Tensor, *, seen: Seen, frequency: Frequency | None = None) -> None:
        super().__init__()
        refuse_leak(seen)
        _check(len(popularity), seen, 1)
        self.seen, self.frequency = seen, frequency
        count = popularity.double()
        log_share = (count.clamp_min(1) / count.sum().clamp_min(1)).log().float()
        self.register_buffer("log_share", log_share, persistent=False)
        self.register_buffer("occurs", count > 0, persistent=False)

    def sample(self, batch, scorer, rng):
        item = batch.item[None]  # [1, B]
        keep = unseen(self.seen, batch.user, item)
        keep &= item != batch.item[:, None]  # the diagonal is one of these
        # a positive that is not in train counts as one occurrence: log 0 would correct it to infinity
        log_q = self.log_share[batch.item] if self.frequency is None else self.frequency.log_prob(batch.item)
        return Negatives(item, keep=keep, log_q=log_q[None], positive_log_q=log_q)

    def log_prob(self, batch, item):
        """An item's frequency, ``[B|1, M]`` as ``item``; ``-inf`` for items without a training count."""
        if self.frequency is not None:
            return self.frequency.log_prob(item)
        return self.log_share[item].masked_fill(~self.occurs[item], -torch.inf)


def running(mass: Tensor) -> Tensor:
    """Running sums from 0: ``Long[n]`` -> ``Long[n + 1]``."""
    return torch.cat([mass.new_zeros(1), mass.cumsum(0)])


def _check(n_items: int, seen: Seen, n_negatives: int) -> None:
    if not isinstance(seen, Seen):
        raise UsageError(
            f"seen is a {type(seen).__name__}, wanted a negsieve.Seen of the training pairs: what a user has must not "
            "come up as a negative"
        )
    if n_items < 1 or n_items != seen.n_items:
        raise UsageError(
            f"n_items={n_items}, but the seen index is of {seen.n_items} items: both must be the catalogue"
        )
    if n_negatives < 1:
        raise UsageError(f"n_negatives={n_negatives}, wanted 1 or more")
