"""What the chosen negatives of an epoch were: false, hard, dead, varied, popular.

The meter reads held-out positives, for measuring only: nothing it learns flows back to a sampler
or a model. Its sums are buffers, so a run that resumes inside an epoch logs the same numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from negsieve.kernels.tally import tally
from negsieve.scorers import Narrowing, Scorer
from negsieve.seen import Seen
from negsieve.types import ORIGINS, Batch, Negatives

_RATED = 256  # rows whose hardness is measured at a time, about
_SUMS = ("loss", "penalty", "rows", "false", "counted", "hard", "rated", "dead", "popularity")


class Meter(nn.Module):
    """Sums over the steps of one epoch; ``summary()`` turns them into rates.

    train       the train pairs, for popularity
    heldout     validation and test pairs of the same users; None where there are none
    every       hardness is measured on every ``every``-th step
    lookups     negatives looked up a step at most: rows beyond are skipped evenly
    references  random items that a chosen negative is ranked among

    Cost a step: at most ``lookups`` binary searches; every ``every``-th step about
    ``256 * references`` extra scores without gradient.
    """

    def __init__(
        self,
        train: Seen,
        heldout: Seen | None,
        *,
        every: int = 32,
        lookups: int = 4096,
        references: int = 128,
        dead_below: float = 0.05,
    ) -> None:
        super().__init__()
        self.heldout = heldout if heldout is not None and len(heldout) else None
        self.every, self.lookups, self.references, self.dead_below = every, lookups, references, dead_below
        self.n_items = train.n_items
        self.register_buffer("item_count", train.popularity(), persistent=False)
        self.register_buffer("covered", torch.zeros(train.n_items, dtype=torch.bool))
        for name in _SUMS:
            self.register_buffer(f"sum_{name}", torch.zeros((), dtype=torch.float64))
        self.register_buffer("sum_origin", torch.zeros(len(ORIGINS), dtype=torch.float64))

    def reset(self) -> None:
        """Forget the epoch."""
        self.covered.zero_()
        self.sum_origin.zero_()
        for name in _SUMS:
            getattr(self, f"sum_{name}").zero_()

    @torch.no_grad()
    def observe(
        self,
        batch: Batch,
        negatives: Negatives,
        scorer: Scorer,
        *,
        loss: Tensor,
        penalty: Tensor,
        gradient: Tensor,
        step: int,
        rng: torch.Generator,
    ) -> None:
        """Adds one step. ``loss``, ``penalty``, ``gradient`` of the positive's score: ``Float[B]``."""
        self.count(batch, negatives, loss=loss, penalty=penalty, gradient=gradient)
        if step % self.every == 0:
            self.rate(batch, negatives, scorer, rng)

    @torch.no_grad()
    def count(
        self,
        batch: Batch,
        negatives: Negatives,
        *,
        loss: Tensor,
        penalty: Tensor,
        gradient: Tensor,
        steps: int = 1,
    ) -> None:
        """Adds all but the hardness of ``steps`` steps of equally many rows, one after another in the batch."""
        self.sum_rows += len(batch)
        self.sum_loss += loss.detach().sum(dtype=torch.float64)
        self.sum_penalty += penalty.detach().sum(dtype=torch.float64)
        self.sum_dead += (gradient.abs() < self.dead_below).sum()
        if negatives.origin is not None:
            # compared, not counted by bincount, which a GPU adds up in an order of its own
            self.sum_origin += torch.stack([(negatives.origin == place).sum() for place in range(len(ORIGINS))])
        item = _items_of(negatives)  # [B|1, K]
        if item.shape[1] == 0:
            return  # a sampler for a loss over the whole catalogue draws nothing
        place = self._looked_up(len(batch), item.shape[1], steps)
        user = batch.user[place]
        chosen = item[place] if len(item) == len(batch) else item.expand(len(user), -1)
        share = _shares(negatives, len(user), place)  # [b, K], each row sums to 1 or 0
        if share is None:
            rows = None if self.heldout is None else self.heldout.rows
            told = tally(user, chosen, rows=rows, count=self.item_count, covered=self.covered)
            false, popular = told.double() / chosen.shape[1]
            self.sum_false += false
            self.sum_popularity += popular
            self.sum_counted += len(user)
            return
        self.covered[chosen[share > 0]] = True
        self.sum_popularity += (self.item_count[chosen] * share).sum()
        self.sum_counted += share.sum()
        if self.heldout is not None:
            self.sum_false += (self.heldout.contains(user, chosen) * share).sum()

    def _looked_up(self, rows: int, many: int, steps: int) -> slice | Tensor:
        """Which rows are looked up: all, or evenly so many of every step."""
        each = rows // steps
        stride = max(1, -(-each * many // self.lookups))
        if stride == 1 or steps == 1:
            return slice(None, None, stride)
        return torch.arange(rows, device=self.covered.device).view(steps, each)[:, ::stride].flatten()

    def rated_rows(self, rows: int, many: int) -> Tensor:
        """What ``rate`` reads of a step of ``rows`` rows with ``many`` negatives each: ``Long[b]``, b < 512."""
        stride = max(1, -(-rows * many // self.lookups))
        looked_up = -(-rows // stride)
        return torch.arange(0, looked_up, max(1, looked_up // _RATED), device=self.covered.device) * stride

    @torch.no_grad()
    def rate(
        self,
        batch: Batch,
        negatives: Negatives,
        scorer: Scorer,
        rng: torch.Generator,
        *,
        rows: Tensor | None = None,
    ) -> None:
        """Adds a step's hardness: the mean share of random items that score below the chosen negatives.

        rows  which are read, the step's ``rated_rows`` by default: a batch of those alone, all of them read,
              adds what the step does
        """
        item = _items_of(negatives)
        if item.shape[1] == 0:
            return
        rows = self.rated_rows(len(batch), item.shape[1]) if rows is None else rows
        chosen = item[rows] if len(item) == len(batch) else item.expand(len(rows), -1)
        share = _shares(negatives, len(rows), rows)
        share = torch.ones_like(chosen, dtype=torch.float64) / chosen.shape[1] if share is None else share
        # one of the row's negatives, as likely as it counts: the first would be the hardest of several
        weight = torch.where(share.sum(1, keepdim=True) > 0, share, 1.0)
        column = torch.multinomial(weight, 1, generator=rng)
        negative = chosen.gather(1, column)  # [b, 1]
        others = torch.randint(self.n_items, (1, self.references), generator=rng, device=chosen.device)
        rated = torch.cat([others.expand(len(rows), -1), negative], dim=1)  # [b, R + 1]
        score = _score_rows(scorer, rows, rated, len(batch))
        below = (score[:, :-1] < score[:, -1:]).sum(1) + 0.5 * (score[:, :-1] == score[:, -1:]).sum(1)
        counts = share.sum(1) > 0
        self.sum_hard += below[counts].sum(dtype=torch.float64) / self.references
        self.sum_rated += counts.sum()

    def summary(self) -> dict[str, float | dict[str, float] | None]:
        """The epoch's means: loss and penalty a row, rates in 0..1, hardness as a percentile 0..100.

        ``origins``, only where the sampler labels its negatives: the share of each of ``ORIGINS``.
        """
        total = {name: float(getattr(self, f"sum_{name}")) for name in _SUMS}

        def mean(name: str, over: str) -> float | None:
            return total[name] / total[over] if total[over] else None

        hard = mean("hard", "rated")
        labelled = float(self.sum_origin.sum())
        origins = (
            {name: float(many) / labelled for name, many in zip(ORIGINS, self.sum_origin, strict=True)}
            if labelled
            else None
        )
        return ({} if origins is None else {"origins": origins}) | {
            "loss": mean("loss", "rows"),
            "penalty": mean("penalty", "rows"),
            "false_negative_rate": mean("false", "counted") if self.heldout is not None else None,
            "hardness": None if hard is None else 100 * hard,
            "dead_rows": mean("dead", "rows"),
            "coverage": float(self.covered.double().mean()),
            "popularity": mean("popularity", "counted"),
        }


def _score_rows(scorer: Scorer, rows: Tensor, item: Tensor, n: int) -> Tensor:
    """Scores of ``item [b, M]`` for some rows only; a scorer that cannot narrow rates all n rows."""
    if isinstance(scorer, Narrowing):
        return scorer.rows(rows).score(item)
    full = item.new_zeros(n, item.shape[1])
    full[rows] = item
    return scorer.score(full)[rows]


def _items_of(negatives: Negatives) -> Tensor:
    """The real items behind the negatives, ``Long[B|1, K]``: a synthetic one counts its parts."""
    return negatives.item if negatives.parts is None else negatives.parts.flatten(1)


def _shares(negatives: Negatives, rows: int, place: slice | Tensor) -> Tensor | None:
    """How much each item counts in the rows at ``place``, ``Double[b, K]``: weights or kept ones, summing to 1.

    None where all count alike.
    """
    if negatives.weight is None and negatives.keep is None and negatives.parts is None:
        return None
    share = negatives.item.new_ones((rows, negatives.item.shape[1]), dtype=torch.float64)
    if negatives.weight is not None:
        share = share * negatives.weight.detach()[place]
    if negatives.keep is not None:
        share = share * negatives.keep[place]
    if negatives.parts is not None:
        share = share.repeat_interleave(negatives.parts.shape[-1], dim=1)
    return share / share.sum(1, keepdim=True).clamp_min(1e-300)
