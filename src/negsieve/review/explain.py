"""A method laid open: what it is made of, what it needs, what it costs, what it equals.

Costs are measured on one step of the real data with a freshly initialised model, and memory on the
sampler as it stands after its refreshes. Nothing is trained, nothing is written.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import torch

from negsieve import losses, spec
from negsieve.config import RunConfig
from negsieve.data.batches import batches
from negsieve.data.dataset import Dataset
from negsieve.errors import CapabilityError, UsageError
from negsieve.models import named as models
from negsieve.models.base import Model
from negsieve.review import inert
from negsieve.review.case import EQUAL, WARNING, Case, Statement
from negsieve.review.composition import bytes_of, chain, tree
from negsieve.review.counting import CountingEncoder, Tally, counted
from negsieve.review.identities import statements
from negsieve.rng import streams
from negsieve.samplers.base import Sampler
from negsieve.schedule import each_schedule
from negsieve.scorers import NEEDS, offered
from negsieve.training import build
from negsieve.training.engines import Parts, choose
from negsieve.training.price import Settled
from negsieve.training.step import Outcome, forward
from negsieve.types import Batch, Negatives


def lay_open(config: RunConfig, dataset: Dataset, *, trusted: Collection[str] = ()) -> dict[str, Any]:
    """What the configured sampler is, with the configured loss, model, data and training.

    trusted  specs of the form ``module:function`` that the user typed, and so may be imported

    Returns ``sampler, loss, model, data, composition, needs, refused, cost, epoch, engine, memory, equal,
    warnings``; ``cost``, ``epoch`` and ``engine`` are None where the model cannot serve the sampler, and
    ``refused`` then says why. Raises UsageError for what does not exist.
    """
    build.refuse_unfit(config.model_copy(update={"train": _lenient(config)}), dataset)
    models.check_model(config.model)
    loss_name = build.name_loss(config.loss, config.sampler)
    model, seed = build.make_model(config, dataset), config.train.seed
    order = models.order_read(config.model)
    sampler = build.make_sampler(config.sampler, dataset, dim=model.dim, seed=seed, trusted=trusted, order=order)
    loss = build.make_loss(loss_name, dataset, seed=seed)
    scorer = model.encode(_batch(config, dataset, rows=2))
    refused = _refusal(sampler, scorer, config, loss_name)
    found = None if refused else _measure(config, dataset, model, sampler, loss, loss_name)
    case = _case(config, sampler, loss_name, loss, offered(scorer), found.negatives.item.shape[1] if found else 1)
    said = statements(case) + (found.inert if found else [])
    return {
        "sampler": str(spec.parse(config.sampler)),
        "loss": loss_name,
        "model": str(spec.parse(config.model)),
        "data": {
            "name": dataset.name,
            "users": dataset.n_users,
            "items": dataset.n_items,
            "train": len(dataset.rows("train")),
        },
        "composition": tree(sampler),
        "needs": _needs(sampler, offered(scorer)),
        "refused": refused,
        "cost": found.cost if found else None,
        "epoch": found.epoch if found else None,
        "engine": _engine(config, Parts(model, sampler, loss, found.negatives)) if found else None,
        "memory": bytes_of(sampler) | {"loss": sum(bytes_of(loss).values())},
        "equal": [one.plain() for one in said if one.kind == EQUAL],
        "warnings": [one.plain() for one in said if one.kind == WARNING],
    }


@dataclass(frozen=True)
class _Measured:
    cost: dict[str, float]
    epoch: dict[str, int]
    negatives: Negatives
    inert: list[Statement]


def _measure(
    config: RunConfig, dataset: Dataset, model: Model, sampler: Sampler, loss: Settled, loss_name: str
) -> _Measured:
    """Two refreshes and one step, everything that is asked of the model counted."""
    epoch = {"first": _refresh(config, model, sampler, 0), "later": _refresh(config, model, sampler, 1)}
    each_schedule(loss, lambda one: one.move(1))
    batch, rng = _batch(config, dataset, rows=config.train.batch_size), streams("explain", seed=config.train.seed)
    tally = Tally()
    try:
        outcome = forward(_Counting(model, tally), sampler, loss, batch, rng)
    except UsageError as problem:
        raise UsageError(f"loss {loss_name} with sampler {config.sampler}: {problem}") from problem
    cost = _per_row(tally, outcome, len(batch))
    tally.frozen = tally.live = 0
    with torch.no_grad():
        sampler.observe(batch, outcome.negatives, outcome.scorer, outcome.loss.detach(), rng)
    cost["observing"] = (tally.frozen + tally.live) / len(batch)
    return _Measured(cost, epoch, outcome.negatives, inert.measured(outcome, loss, sampler, batch))


def _engine(config: RunConfig, parts: Parts) -> dict[str, Any]:
    """What would do the steps of a run, and why no compiled engine would."""
    device = build.pick_device(config.train.device)
    try:
        return asdict(choose(parts, config.train, device))
    except CapabilityError as problem:
        return {"name": None, "why": str(problem)}


class _Counting(torch.nn.Module):
    """A model whose scorers are counted."""

    def __init__(self, model: Model, tally: Tally) -> None:
        super().__init__()
        self.model, self.tally = model, tally

    def encode(self, batch: Batch):
        return counted(self.model.encode(batch), self.tally)

    def penalty(self, batch, negatives):
        return self.model.penalty(batch, negatives)


def _per_row(tally: Tally, outcome: Outcome, rows: int) -> dict[str, float]:
    """Counts for each positive of the batch."""
    return {
        "batch": rows,
        "negatives": outcome.negatives.item.shape[1],
        "without_gradient": tally.frozen / rows,
        "with_gradient": tally.live / rows,
        "vectors": tally.shown / rows,
    }


def _refresh(config: RunConfig, model: Model, sampler: Sampler, epoch: int) -> int:
    """Score evaluations that the sampler asks of the model before an epoch."""
    tally = Tally()
    rng = streams("refresh", epoch, seed=config.train.seed)
    sampler.begin(epoch, CountingEncoder(model.frozen(), tally), rng)
    return tally.frozen + tally.live


def _batch(config: RunConfig, dataset: Dataset, *, rows: int) -> Batch:
    """The first batch of a run, or its first rows."""
    user, item = dataset.pairs("train")
    size = min(rows, len(user))
    _, place = next(iter(batches(len(user), size=size, seed=config.train.seed, epoch=0)))
    return Batch(user[place], item[place], place)


def _refusal(sampler: Sampler, scorer, config: RunConfig, loss: str) -> str | None:
    try:
        build.refuse_unserved(sampler, scorer, sampler_name=config.sampler, model=config.model)
        build.refuse_unserved_loss(loss, scorer, model=config.model)
    except CapabilityError as problem:
        return str(problem)
    return None


def _needs(sampler: Sampler, offers: frozenset[str]) -> list[dict[str, Any]]:
    """Each need of a part, what it means, and whether the model serves it."""
    found = {(type(one).__name__, need) for one in sampler.modules() for need in getattr(one, "needs", ())}
    return [
        {"part": part, "need": need, "means": NEEDS[need], "served": need in offers} for part, need in sorted(found)
    ]


def _case(config, sampler: Sampler, loss_name: str, loss: Settled, offers: frozenset[str], many: int) -> Case:
    model, price = spec.parse(config.model), spec.parse(loss_name)
    kind = spec.resolve(model, models.MODELS, aliases=models.ALIASES)
    name = next(name for name, one in models.MODELS.items() if one is kind)
    return Case(
        parts=chain(sampler),
        many=many,
        loss=next((name for name, one in losses.LOSSES.items() if price.name == name), price.name),
        price=_filled(losses.LOSSES[price.name], price),
        offers=offers,
        model=spec.Spec(name, model.params),
        shape=_filled(kind, model),
        train=config.train,
    )


def _filled(function, given: spec.Spec) -> dict[str, Any]:
    """The parameters of a spec with the defaults of those that it leaves out."""
    signature = inspect.signature(function).parameters
    default = {name: one.default for name, one in signature.items() if one.default is not one.empty}
    return default | spec.convert(function, given)


def _lenient(config: RunConfig):
    """Training settings that refuse nothing but what cannot be drawn from: nothing is trained here."""
    return config.train.model_copy(update={"patience": 0, "full_users": "skip", "drop_last": False})
