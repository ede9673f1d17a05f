"""Measures an encoder on the valid or the test part of a data set, and says for whom it holds.

The headline counts every user who has something held out, and everything held out. Beside it stand
the same metrics for what a model could have learned (warm) and for what it could not (users without
a train row, items without one), so that neither hides in the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from negsieve.data.dataset import PARTS, Dataset
from negsieve.errors import DataError, UsageError, nearest
from negsieve.evaluation import sampled
from negsieve.evaluation.fallback import ServeCold, known
from negsieve.evaluation.metrics import (
    ACCURACY,
    AUC,
    DEFAULT_METRICS,
    Metric,
    accuracies,
    hits,
    of_lists,
    pair_auc,
    parse_metrics,
)
from negsieve.evaluation.outcome import Evaluation, beside
from negsieve.evaluation.rank import CHUNK, TopK, scored, top_k
from negsieve.histories import Aside, Histories
from negsieve.scorers import Encoder, HistoryEncoder
from negsieve.seen import Seen

PROTOCOLS = ("full", "sampled", "both")
GROUPS = ("warm", "cold_users", "cold_items")
"""Each held-out pair is in one of them. Beside a source domain, "no_source" says how all pairs of some users go."""
NO_SOURCE = "no_source"
_BEFORE = {"valid": ("train",), "test": ("train", "valid")}  # what is known when a part is judged


@dataclass(frozen=True)
class _Held:
    """A held-out part, laid out for measuring.

    users      ``Long[n]`` ascending, those with something held out
    row, item  ``Long[p]``: the pairs, row a place in ``users``, ascending
    """

    seen: Seen
    mask: tuple[Seen, ...]
    users: Tensor
    row: Tensor
    item: Tensor
    unreachable: int


class Evaluator:
    """Evaluates encoders on one data set, the same way every time.

    dataset      with at least a train part and the part to evaluate on
    metrics      names such as "recall@20", "auc", "coverage@20"; docs/evaluation.md defines them
    protocol     "full": all items are ranked. "sampled": each held-out item among ``n_negatives`` items
                 drawn once; biased, and labelled so. "both": the labelled figures beside the full ones
    seed         of the drawn candidates
    ties         where a held-out item stands among drawn ones of equal score, one of ``sampled.TIES``
    candidates   a saved result of ``sampled.candidates`` per part, to be used instead of drawing
    chunk        users scored together; it is part of the result's definition
    device       where users are sent before the encoder sees them: the device of its tables

    Masked, and read by models that read histories: train, and for "test" also valid. Users without a train
    row are measured on what ``recommend`` serves them, popularity (``fallback.ServeCold``).

    Cost of a full evaluation: one scoring of all items and one partial sort a user; "auc" adds a scoring
    and two reads of a user's scores a held-out pair. Memory: that of ``rank.top_k``; for "auc" chunk * I scores.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        metrics: Sequence[str] | str = DEFAULT_METRICS,
        protocol: str = "full",
        n_negatives: int = 99,
        seed: int = 42,
        ties: str = "number",
        candidates: dict[str, dict[str, np.ndarray]] | None = None,
        chunk: int = CHUNK,
        device: str | torch.device = "cpu",
    ) -> None:
        if protocol not in PROTOCOLS:
            raise UsageError(
                f"protocol={protocol!r}: wanted one of {', '.join(PROTOCOLS)}.{nearest(protocol, PROTOCOLS)}"
            )
        if ties not in sampled.TIES:
            raise UsageError(f"ties={ties!r}: wanted one of {', '.join(sampled.TIES)}.{nearest(ties, sampled.TIES)}")
        self.dataset, self.protocol, self.chunk, self.device = dataset, protocol, chunk, torch.device(device)
        self.metrics = parse_metrics(metrics)
        self._held: dict[str, _Held] = {}
        self._histories: dict[tuple[str, str, bool], tuple[Histories, Aside | None]] = {}
        self._candidates = dict(candidates or {})
        given = [np.shape(one["negatives"]) for one in self._candidates.values() if "negatives" in one]
        self._n_negatives = given[0][1] if given and len(given[0]) == 2 else n_negatives
        self._seed, self._ties = seed, ties
        if protocol == "sampled":
            lists = [str(metric) for metric in self.metrics if metric.of_lists]
            if lists and metrics is not DEFAULT_METRICS:
                raise UsageError(
                    f"sampled evaluation makes no lists to measure {', '.join(lists)} on; use protocol='full'"
                )
            self.metrics = tuple(metric for metric in self.metrics if not metric.of_lists)
        # on the CPU, wherever a sampler has moved the train index to
        self._popularity = dataset.train.popularity().cpu()  # [I]
        self._cold_user = (dataset.train.degree() == 0).cpu()  # [U]
        self._cold_item = self._popularity == 0  # [I]

    @property
    def names(self) -> list[str]:
        """The names under which a result holds the metrics, in order."""
        full, drawn = ([str(metric) for metric in self.metrics], [self._label(metric) for metric in self._drawn])
        return {"full": full, "sampled": drawn, "both": full + drawn}[self.protocol]

    @property
    def _drawn(self) -> list[Metric]:
        """The metrics that sampled evaluation can measure."""
        return [metric for metric in self.metrics if not metric.of_lists]

    def name_of(self, metric: str) -> str:
        """The name under which a result holds a metric: that of full ranking where there is one."""
        return self._label(metric) if self.protocol == "sampled" else metric

    def _label(self, metric: Metric | str) -> str:
        return f"sampled{self._n_negatives}/{metric}"

    def evaluate(self, encoder: Encoder, part: str = "valid") -> Evaluation:
        """Measures ``encoder`` on ``part``, "valid" or "test".

        Raises UsageError for another part, DataError where the part holds nothing, NegsieveError
        naming the user where a score is NaN.
        """
        held = self._lay_out(part)
        served = ServeCold(self._knowing(encoder, part), self.dataset)
        if self.protocol == "full":
            return self._full(served, part, held)
        if self.protocol == "sampled":
            return self._sampled(served, part, held)
        return beside(self._full(served, part, held), self._sampled(served, part, held))

    def candidates(self, part: str) -> dict[str, np.ndarray]:
        """The candidates that sampled evaluation ranks on ``part``: drawn on first use, then reused.

        Raises UsageError where given ones belong to other held-out pairs.
        """
        held = self._lay_out(part)
        if part not in self._candidates:
            self._candidates[part] = sampled.candidates(
                self.dataset, part, n_negatives=self._n_negatives, seed=self._seed
            )
        sampled.check(self._candidates[part], held.seen)
        return self._candidates[part]

    def _knowing(self, encoder: Encoder, part: str) -> Encoder:
        """``fallback.knowing`` for what stands before ``part``, the histories kept from one validation to the next."""
        if not isinstance(encoder, HistoryEncoder):
            return encoder
        key = (part, encoder.order, encoder.aside is None)
        if key not in self._histories:
            self._histories[key] = known(encoder, self.dataset, *_BEFORE[part])
        return encoder.reading(*self._histories[key])

    def _lay_out(self, part: str) -> _Held:
        if part not in PARTS[1:]:
            raise UsageError(f"part={part!r}: wanted 'valid' or 'test'.{nearest(part, PARTS[1:])}")
        if part not in self._held:
            data = self.dataset
            seen = data.valid if part == "valid" else data.test
            if not len(seen):
                raise DataError(f"no row is held out in the {part} part of {data.name!r}: there is nothing to evaluate")
            mask = tuple(getattr(data, one) for one in _BEFORE[part])
            users, row = seen.owner.cpu().unique_consecutive(return_inverse=True)
            item = seen.item.cpu()
            hidden = torch.zeros(len(item), dtype=torch.bool)
            for index in mask:
                where = index.offset.device
                hidden |= index.contains(users[row].to(where), item[:, None].to(where))[:, 0].cpu()
            self._held[part] = _Held(seen, mask, users, row, item, int(hidden.sum()))
        return self._held[part]

    def _full(self, encoder: Encoder, part: str, held: _Held) -> Evaluation:
        top, auc = self._rank(encoder, held)
        hit = hits(top, held.users, held.seen)  # [n, K]

        def measure(users: Tensor, pair: Tensor, kept: Tensor | None) -> tuple[dict[str, Tensor], dict[str, float]]:
            own = hit if kept is None else hit & kept[top.item.clamp_min(0)]
            relevant = torch.bincount(held.row[pair], minlength=len(held.users))
            found = accuracies((metric for metric in self.metrics if metric.name in ACCURACY), own, relevant)
            if auc is not None:
                found[Metric(AUC, None)] = _mean_by_row(auc[pair], held.row[pair], len(held.users))
            values = {str(metric): found[metric][users] for metric in self.metrics if not metric.of_lists}
            lists = TopK(top.item[users], top.score[users])
            whole = {
                str(metric): of_lists(metric, lists, self._popularity, n_users=int((~self._cold_user).sum()))
                for metric in self.metrics
                if metric.of_lists
            }
            return values, whole

        return self._report(part, held, measure)

    def _rank(self, encoder: Encoder, held: _Held) -> tuple[TopK, Tensor | None]:
        """The lists of all users, and every pair's AUC where it is asked for: that reads all scores."""
        k = max((metric.k for metric in self.metrics if metric.k), default=1)
        users, how = held.users.to(self.device), {"n_items": self.dataset.n_items, "mask": held.mask}
        top = top_k(encoder, users, k, chunk=self.chunk, **how).to("cpu")
        if not any(metric.name == AUC for metric in self.metrics):
            return top, None
        auc = []
        for own, score in scored(encoder, users, chunk=self.chunk, **how):
            auc.append(pair_auc(score, *held.seen.of(own.to(held.seen.offset.device))))
            del score  # before the next are made
        return top, torch.cat(auc)

    def _sampled(self, encoder: Encoder, part: str, held: _Held) -> Evaluation:
        chosen = self.candidates(part)
        values = sampled.pair_values(
            encoder, chosen, self._drawn, chunk=self.chunk, device=self.device, ties=self._ties
        )

        def measure(users: Tensor, pair: Tensor, _: Tensor | None) -> tuple[dict[str, Tensor], dict[str, float]]:
            means = {
                self._label(name): _mean_by_row(value[pair], held.row[pair], len(held.users))[users]
                for name, value in values.items()
            }
            return means, {}

        short = int((chosen["negatives"] < 0).any(1).sum())
        facts = {
            "n_negatives": self._n_negatives,
            "seed": int(chosen["seed"]),
            "ties": self._ties,
            "pairs_with_fewer": short,
        }
        return self._report(part, held, measure, facts=facts)

    def _report(self, part: str, held: _Held, measure, *, facts: dict | None = None) -> Evaluation:
        """Assembles the headline and the groups from ``measure(users, pairs, items kept)``."""
        everyone, warm_item = torch.arange(len(held.users)), ~self._cold_item
        every_pair = torch.ones(len(held.row), dtype=torch.bool)
        cold_user = self._cold_user[held.users]  # [n]
        cold_pair, warm_pair_item = cold_user[held.row], warm_item[held.item]  # [p]
        values, whole = measure(everyone, every_pair, None)
        chosen = {
            "warm": (~cold_pair & warm_pair_item, warm_item),
            "cold_users": (cold_pair, None),
            "cold_items": (~cold_pair & ~warm_pair_item, ~warm_item),
        }
        if self.dataset.aside is not None:
            chosen[NO_SOURCE] = (~self._sourced(part)[held.users][held.row], None)
        groups = {}
        for name in chosen:
            pair, kept = chosen[name]
            users = held.row[pair].unique()
            groups[name] = {"users": len(users), "pairs": int(pair.sum())}
            if len(users):
                own, lists = measure(users, pair, kept)
                groups[name] |= self._ordered({key: float(value.mean()) for key, value in own.items()} | lists)
        return Evaluation(
            metrics=self._ordered({key: float(value.mean()) for key, value in values.items()} | whole),
            groups=groups,
            per_user={"user": held.users.numpy().copy()} | {key: value.numpy() for key, value in values.items()},
            part=part,
            protocol=self.protocol,
            users=len(held.users),
            pairs=len(held.row),
            unreachable=held.unreachable,
            chunk=self.chunk,
            biased=self.protocol == "sampled",
            facts=facts or {},
        )

    def _sourced(self, part: str) -> Tensor:
        """Users with a source row before what is judged of them: ``Bool[U]``."""
        return self.dataset.asides(*_BEFORE[part], order=self.dataset.order).last >= 0

    def _ordered(self, found: dict[str, float]) -> dict[str, float]:
        """The metrics in the order in which they were asked for."""
        place = {str(metric): i for i, metric in enumerate(self.metrics)}
        return dict(sorted(found.items(), key=lambda pair: place[pair[0].rpartition("/")[2]]))


def _mean_by_row(value: Tensor, row: Tensor, n: int) -> Tensor:
    """Mean of ``value [p]`` over the pairs of each row: ``Double[n]``; NaN for a row without any."""
    total = torch.zeros(n, dtype=torch.double).index_add_(0, row, value.double())
    return total / torch.bincount(row, minlength=n)
