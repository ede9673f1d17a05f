"""Runs methods for a few epochs on real data and says which break, and how.

For each method: training must not fail, no draw with ``keep=True`` may be an item that the user has in
train, no loss may be other than finite, and a run that is stopped in the middle of an epoch and goes on
from its checkpoint must end with the bits of one that never stopped: model, sampler and loss.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from negsieve import spec
from negsieve.config import RunConfig, resolve
from negsieve.data.dataset import Dataset
from negsieve.data.interactions import Interactions
from negsieve.data.vocabulary import Vocabulary
from negsieve.errors import CapabilityError, NegsieveError, UsageError
from negsieve.models.named import order_read
from negsieve.rng import derive, shuffled
from negsieve.samplers import named
from negsieve.samplers.base import Composition, Sampler
from negsieve.seen import Seen
from negsieve.store.run import Run
from negsieve.testing.answers import equal
from negsieve.training import build
from negsieve.training.engines import Parts, choose
from negsieve.training.trainer import Trainer
from negsieve.training.watch import Silent

FAMILY = ("mf", "lightgcn")
ACROSS = ("sasrec_cdr",)


class Broken(Exception):
    """A method broke a rule; the message says which."""


@dataclass(frozen=True)
class Verdict:
    """How one method did. Rates are those of the last epoch; what never came to be is None.

    ok   None for a method that these data cannot try
    why  what broke, or what is missing
    """

    method: str
    loss: str | None
    model: str | None
    seconds: float
    false_negative_rate: float | None
    hardness: float | None
    ok: bool | None
    why: str | None

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def try_methods(
    config: RunConfig,
    dataset: Dataset,
    samplers: Sequence[str],
    *,
    model: str | None = None,
    trusted: Collection[str] = (),
    told: Callable[[Verdict], None] = lambda verdict: None,
) -> list[Verdict]:
    """Tries each sampler with the configured loss (its own by default), epochs and seed.

    model    a model for all; None: mf, lightgcn where a sampler needs layers, sasrec_cdr where it needs two domains
    trusted  ``module:function`` samplers that may be imported
    told     called with each verdict as it falls

    Raises UsageError, before anything runs, for a sampler that does not exist.
    """
    if config.train.epochs < 2:
        raise UsageError(f"epochs={config.train.epochs}: stopping in the middle of the second one needs 2 or more")
    makers = {text: named.find(spec.parse(text).name, allow_import=text in trusted) for text in samplers}
    verdicts = []
    for text, maker in makers.items():
        if dataset.explicit is None and "explicit" in inspect.signature(maker).parameters:
            verdict = _untried(text, "these data hold no explicit negatives")
        elif dataset.aside is None and _crosses(text, dataset, trusted):
            verdict = _untried(text, "these data hold one domain")
        else:
            verdict = _try(config.model_copy(update={"sampler": text}), dataset, model, trusted)
        verdicts.append(verdict)
        told(verdict)
    return verdicts


def _untried(text: str, why: str) -> Verdict:
    return Verdict(text, None, None, 0.0, None, None, None, f"not tried: {why}")


def _crosses(text: str, dataset: Dataset, trusted: Collection[str]) -> bool:
    """Whether a sampler needs a model of two domains."""
    try:
        made = build.make_sampler(text, dataset, dim=1, trusted=trusted)
    except Exception:  # said by the trial itself
        return False
    return any("domains" in getattr(part, "needs", ()) for part in made.modules())


def _try(config: RunConfig, dataset: Dataset, model: str | None, trusted: Collection[str]) -> Verdict:
    """One method, from a config to a verdict; whatever goes wrong is the verdict's reason."""
    begun, record, why = perf_counter(), {}, None
    try:
        config, parts = _served(config, dataset, [model] if model else _family(dataset), trusted)
        engine = choose(parts, config.train, build.pick_device(config.train.device)).name
        config = config.model_copy(update={"loss": build.name_loss(config.loss, config.sampler)})
        with tempfile.TemporaryDirectory(prefix="negsieve-check-") as folder:
            record = _prove(config, dataset, Path(folder), trusted, engine)
    except (Broken, NegsieveError) as problem:
        why = str(problem)
    except Exception as problem:  # a method's own defect must not end the others
        why = f"{type(problem).__name__}: {problem}"
    return Verdict(
        method=config.sampler,
        loss=None if config.loss == "auto" else config.loss,
        model=config.model,
        seconds=round(perf_counter() - begun, 2),
        false_negative_rate=record.get("false_negative_rate"),
        hardness=record.get("hardness"),
        ok=why is None,
        why=why,
    )


def _family(dataset: Dataset) -> list[str]:
    return [*FAMILY, *(ACROSS if dataset.aside is not None else ())]


def _served(
    config: RunConfig, dataset: Dataset, family: list[str], trusted: Collection[str]
) -> tuple[RunConfig, Parts]:
    """The configuration with the first model that serves the sampler, and its parts. Raises the last refusal."""
    for place, name in enumerate(family):
        tried = config.model_copy(update={"model": name})
        try:
            return tried, build.tried(tried, dataset, trusted=trusted)
        except CapabilityError:
            if place + 1 == len(family):
                raise
    raise UsageError("no model was named")


def _prove(config: RunConfig, dataset: Dataset, folder: Path, trusted: Collection[str], engine: str) -> dict[str, Any]:
    """Trains straight, then stopped and resumed, and compares. Returns the last epoch's record."""
    straight = _trainer(config, dataset, folder / "straight", trusted, engine)
    straight.fit()
    cut = _trainer(config, dataset, folder / "cut", trusted, engine)
    cut.watch = _StopIn(cut, epoch=1, step=(cut.steps - 1) // 2)
    try:
        cut.fit()
    except _Stopped:
        pass
    resumed = _trainer(config, dataset, folder / "cut", trusted, engine)
    resumed.restore(resumed.run.load_latest())
    resumed.fit()
    for what in ("model", "sampler", "beside"):
        lost = differing(_bits(getattr(straight, what)), _bits(getattr(resumed, what)))
        if lost:
            name = {"sampler": "the sampler's memory", "beside": "the loss's memory"}.get(what, "the model")
            raise Broken(f"{name} differs after a stop and a resume: {', '.join(lost)}")
    return straight.run.metrics()[-1]


def _trainer(config: RunConfig, dataset: Dataset, path: Path, trusted: Collection[str], engine: str) -> Trainer:
    device, seed = build.pick_device(config.train.device), config.train.seed
    model = build.make_model(config, dataset)
    order = order_read(config.model)
    sampler = build.make_sampler(config.sampler, dataset, dim=model.dim, seed=seed, trusted=trusted, order=order)
    return Trainer(
        model,
        Witness(sampler, dataset),
        loss=build.make_loss(config.loss, dataset, seed=seed),
        dataset=dataset,
        evaluator=build.make_evaluator(config, dataset, device=device),
        run=Run.create(path, config=config.plain(), env={}),
        config=config.train,
        device=device,
        sampler_name=config.sampler,
        engine=engine,
    )


class Witness(Composition, Sampler):
    """Draws what ``inner`` draws, and raises Broken at the first kept item that its user has in train."""

    def __init__(self, inner: Sampler, dataset: Dataset) -> None:
        super().__init__()
        self.inner, self.train_pairs = inner, dataset.seen("train")
        self._users, self._items = dataset.users, dataset.items

    def parts(self):
        return [self.inner]

    def sample(self, batch, scorer, rng):
        found = self.inner.sample(batch, scorer, rng)
        wrong = self.train_pairs.contains(batch.user, found.item)  # [B, K]
        wrong = wrong if found.keep is None else wrong & found.keep
        if bool(wrong.any()):
            row, place = wrong.nonzero()[0].tolist()
            item = self._items[int(found.item.expand(len(wrong), -1)[row, place])]
            raise Broken(
                f"drew item {item!r} for user {self._users[int(batch.user[row])]!r}, who has it in train, and kept it "
                f"({int(wrong.sum())} such draws in a step)"
            )
        return found


class _Stopped(BaseException):
    """Stands for the end of the process: nothing between may catch it."""


class _StopIn(Silent):
    """Saves after a step, as a signal makes the trainer do, and ends."""

    def __init__(self, trainer: Trainer, *, epoch: int, step: int) -> None:
        self._trainer, self._at = trainer, (epoch, step)

    def step(self, epoch, step):
        if (epoch, step) == self._at:
            self._trainer.save()
            raise _Stopped


def _bits(module) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in module.state_dict().items()}


def differing(one: dict[str, Tensor], two: dict[str, Tensor]) -> list[str]:
    """Names whose tensors are not the same bits, or that only one has; without the witness's prefix."""
    names = [name for name in {**one, **two} if name not in one or name not in two or not equal(one[name], two[name])]
    return sorted(name.removeprefix("inner.") for name in names)


def fewer_users(dataset: Dataset, many: int, *, seed: int = 0) -> Dataset:
    """The rows of ``many`` users, drawn by ``seed`` among those with train rows, and the items that they touch."""
    if many < 1:
        raise UsageError(f"users={many}, wanted 1 or more")
    able = np.flatnonzero(dataset.train.degree().numpy() > 0)
    if many >= len(able):
        return dataset
    log, place = dataset.interactions, shuffled(torch.arange(many), len(able), derive("fewer users", seed=seed))
    chosen = np.sort(able[place.numpy()])
    rows = np.flatnonzero(np.isin(log.user, chosen))
    refused = None if dataset.explicit is None else dataset.explicit.of(torch.from_numpy(chosen))
    touched = log.item[rows] if refused is None else np.concatenate([log.item[rows], refused[1].numpy()])
    items = np.unique(touched)
    optional = ("rating", "timestamp", "domain", "part")
    columns = {name: None if (one := getattr(log, name)) is None else one[rows] for name in optional}
    small = Interactions(
        user=np.searchsorted(chosen, log.user[rows]),
        item=np.searchsorted(items, log.item[rows]),
        users=Vocabulary([dataset.users[int(one)] for one in chosen], kind="user"),
        items=Vocabulary([dataset.items[int(one)] for one in items], kind="item"),
        domains=log.domains,
        titles=None if log.titles is None else [log.titles[int(one)] for one in items],
        facts=log.facts,
        **columns,
    )
    explicit = None
    if refused is not None:
        user, item = refused[0], np.searchsorted(items, refused[1].numpy())
        explicit = Seen(user, item, n_users=many, n_items=len(items), part=dataset.explicit.part)
    aside = None if dataset.aside is None else dataset.aside.of_users(chosen, rows)
    return Dataset(dataset.name, small, dataset.part[rows], dataset.split | {"users": many}, explicit, aside)


def settings(given: RunConfig, **train: Any) -> RunConfig:
    """``given`` made fit for a quick look: no early stop, one metric, users who have everything skipped."""
    quick = {"patience": 0, "full_users": "skip", "checkpoint_seconds": 1e9} | train
    return resolve(given.plain(), {"train": quick, "evaluate": {"metrics": [given.train.metric], "test_metrics": []}})


def canonical(samplers: Sequence[str]) -> list[str]:
    """Names as typed, ``all`` standing for every method here; the first mention of each stays."""
    wide = [name for text in samplers for name in (named.METHODS if text == "all" else [str(spec.parse(text))])]
    return list(dict.fromkeys(wide))
