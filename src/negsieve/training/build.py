"""From a resolved configuration and a data set to the parts that train."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator

import numpy as np
import torch

from negsieve import losses, spec
from negsieve.config import EvaluateConfig, RunConfig
from negsieve.data.dataset import Dataset
from negsieve.errors import CapabilityError, ConfigError, DataError, NegsieveError, UsageError
from negsieve.evaluation.evaluator import Evaluator
from negsieve.evaluation.metrics import parse_metric
from negsieve.histories import Aside, Histories
from negsieve.models import named as models
from negsieve.models.base import Model
from negsieve.rng import streams
from negsieve.samplers import named
from negsieve.samplers.base import Sampler
from negsieve.samplers.combine import With
from negsieve.scorers import NEEDS, Crossed, Dot, Narrowing, Scorer, VectorScorer, offered
from negsieve.seen import Seen
from negsieve.training.engines import Parts
from negsieve.training.price import PER_STEP, Settled, price
from negsieve.training.sampling import known_to, make_sampler
from negsieve.types import Batch, Negatives

_HANDED = ("positive", "negative", "negatives", *PER_STEP, "seed", "n_users", "n_items", "seen")


def pick_device(wanted: str) -> torch.device:
    """The device that ``auto``, ``cpu`` or ``cuda[:n]`` means here. Raises UsageError when it is absent."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UsageError(f"device {wanted!r}: wanted auto, cpu or cuda[:number]") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {wanted!r}: this machine shows torch no CUDA device; use --device auto or cpu")
    return device


def name_loss(text: str, sampler: str) -> str:
    """The canonical text of a loss; ``auto`` is the one that the sampler's paper uses.

    Raises UsageError for an unknown loss or parameter. Builds nothing.
    """
    if text == "auto":
        parsed = spec.parse(sampler)
        text = named.default_loss(parsed.name, parsed.params)
    parsed = spec.parse(text)
    spec.convert(_loss(parsed), parsed, skip=_HANDED)
    return str(parsed)


def make_loss(text: str, dataset: Dataset, *, seed: int = 0) -> Settled:
    """The loss that a canonical text names, with what it needs to know of the data."""
    known = {"n_users": dataset.n_users, "n_items": dataset.n_items, "seen": dataset.seen("train")}
    return settle(spec.parse(text), {**known, "seed": seed})


def settle(parsed: spec.Spec, offers: dict) -> Settled:
    """A loss with its settings; ``offers`` holds ``n_users``, ``n_items``, ``seen`` and ``seed`` for those that ask."""
    function = _loss(parsed)
    if inspect.isclass(function):
        return Settled(spec.bind(function, parsed, offers), {})
    settings = spec.convert(function, parsed, skip=_HANDED)
    settings |= {name: offers[name] for name in inspect.signature(function).parameters if name in offers}
    scheduled = [name for name in spec.changing(function) if isinstance(settings.get(name), str)]
    return Settled(function, settings, scheduled=scheduled)


def _loss(parsed: spec.Spec):
    return spec.resolve(parsed, losses.LOSSES, what="loss")


def make_model(config: RunConfig, dataset: Dataset) -> Model:
    """The model that the configuration names, freshly initialised from ``train.seed``."""
    return models.build_model(
        config.model,
        n_users=dataset.n_users,
        n_items=dataset.n_items,
        train=dataset.train,
        history=lambda order: dataset.histories("train", order=order),
        aside=lambda order: dataset.asides("train", order=order),
        seed=config.train.seed,
    )


def make_evaluator(
    config: RunConfig,
    dataset: Dataset,
    *,
    final: bool = False,
    device: str | torch.device = "cpu",
    candidates: dict[str, dict[str, np.ndarray]] | None = None,
) -> Evaluator:
    """The evaluator that chooses the best epoch, as ``train.select_by`` says; ``final``: the one that reports.

    ``final`` adds the metrics that are worth their time once and follows ``evaluate.protocol``.
    ``device`` is where the model's tables are; ``candidates`` are saved ones for the sampled protocol.
    Raises UsageError for metrics that do not exist, or that the protocol cannot measure.
    """
    wanted = config.evaluate
    protocol = config.protocol if final else config.train.select_by
    extra = wanted.test_metrics if final else ()
    if protocol == "sampled" and extra == EvaluateConfig().test_metrics:
        extra = tuple(name for name in extra if not parse_metric(name).of_lists)
    metrics = [parse_metric(name) for name in (*wanted.metrics, *extra)]
    if not final and protocol == "sampled":
        metrics = [metric for metric in metrics if not metric.of_lists]
    chooser = parse_metric(config.train.metric)
    if chooser not in metrics and not (final and protocol == "sampled" and chooser.of_lists):
        metrics.insert(0, chooser)
    return Evaluator(
        dataset,
        metrics=tuple(map(str, metrics)),
        protocol=protocol,
        n_negatives=wanted.n_negatives,
        seed=wanted.seed,
        ties=wanted.ties,
        candidates=candidates,
        chunk=wanted.chunk,
        device=device,
    )


def reported(config: RunConfig, metric: object) -> str:
    """The name under which a result holds ``metric``, as the best epoch is chosen by it where it has two.

    Sampled figures are labelled ``sampled<n>/...``.
    """
    sampled = config.protocol == "sampled" or config.train.select_by == "sampled"
    return f"sampled{config.evaluate.n_negatives}/{metric}" if sampled else str(metric)


def refuse_misnamed(config: RunConfig, dataset: Dataset, *, trusted: Collection[str] = ()) -> None:
    """Raises what ``tried`` raises, before any work."""
    tried(config, dataset, trusted=trusted)


def tried(config: RunConfig, dataset: Dataset, *, trusted: Collection[str] = ()) -> Parts:
    """The parts of a run after one draw for two rows and its price, the model a small one of its kind.

    Raises UsageError for a model, sampler, loss or metric that cannot be made, CapabilityError for a sampler or
    loss that the model cannot serve.
    """
    models.check_model(config.model)
    model = _small(config.model)
    scorer = _stand_in(model, dataset.n_items)
    dim = scorer.query.shape[1] if isinstance(scorer, VectorScorer) else 1
    order = models.order_read(config.model)
    sampler = make_sampler(config.sampler, dataset, dim=dim, trusted=trusted, oracle=config.oracle, order=order)
    refuse_unserved(sampler, scorer, sampler_name=config.sampler, model=config.model)
    loss = name_loss(config.loss, config.sampler)
    refuse_unserved_loss(loss, scorer, model=config.model)
    made = make_loss(loss, dataset)
    negatives = _try(sampler, config.sampler, dataset, scorer, loss=loss, made=made)
    make_evaluator(config, dataset)
    make_evaluator(config, dataset, final=True)
    return Parts(model, sampler, made, negatives)


def _small(model: str) -> Model:
    """The model that a spec names, for two users and two items."""
    pair, both = Seen([0, 1], [0, 1], n_users=2, n_items=2), torch.tensor([0, 1])
    history = Histories(both, both, n_users=2)
    aside = Aside(history, before=torch.tensor([-1, 0]), last=both, n_items=2)
    told = {"history": lambda order: history, "aside": lambda order: aside}
    return models.build_model(model, n_users=2, n_items=2, train=pair, **told, seed=0)


def _stand_in(model: Model, n_items: int) -> Scorer:
    """A scorer of two rows like the small model's own, over ``n_items`` items that take no memory."""
    both = torch.tensor([0, 1])
    scorer = model.encode(Batch(both, both, both))
    if not isinstance(scorer, Dot):
        return scorer
    flat = torch.zeros(1, scorer.query.shape[1]).expand(n_items, -1)
    if isinstance(scorer, Crossed):
        sides = {"source": scorer.source, "target": scorer.target, "met": scorer.met, "fuse": scorer.fuse}
        return Crossed(scorer.query, flat, **sides, cosine=scorer.cosine, temperature=scorer.temperature)
    stack = (flat,) * scorer.hops if scorer.hops > 1 else None
    return Dot(torch.zeros_like(scorer.query), flat, stack=stack, cosine=scorer.cosine, temperature=scorer.temperature)


def refuse_unserved(sampler: Sampler, scorer: Scorer, *, sampler_name: str, model: str) -> None:
    """Raises CapabilityError when the sampler needs more of a scorer than the model's has, and says what would do."""
    offers = offered(scorer)
    for part in _rated_by_the_model(sampler):
        needs = getattr(part, "needs", frozenset())
        if needs - offers:
            who = f"sampler {sampler_name} cannot train {model}: its {type(part).__name__}"
            raise _lacking(who, needs, offers, model=model, advice=type(part).advice)


def _rated_by_the_model(part: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """The parts that see the trained model's scores; a stage that runs against another model does not."""
    yield part
    inside = (part.view,) if isinstance(part, With) else part.children()
    for one in inside:
        if isinstance(one, torch.nn.Module):
            yield from _rated_by_the_model(one)


def refuse_unserved_loss(text: str, scorer: Scorer, *, model: str) -> None:
    """Raises CapabilityError when the loss needs more of a scorer than the model's has, as for a sampler."""
    needs, offers = losses.NEEDS_OF.get(spec.parse(text).name, frozenset()), offered(scorer)
    if needs - offers:
        raise _lacking(f"loss {text} cannot train {model}: it", needs, offers, model=model)


def _lacking(
    who: str, needs: frozenset[str], offers: frozenset[str], *, model: str, advice: str = ""
) -> CapabilityError:
    serving = [name for name in models.MODELS if needs <= offered(_stand_in(_small(name), 2))]
    own = spec.resolve(spec.parse(model), models.MODELS, aliases=models.ALIASES, what="model")
    settings = " with their default settings" if any(models.MODELS[name] is own for name in serving) else ""
    served = f"Models that serve it{settings}: {', '.join(serving)}" if serving else "No model here serves it"
    return CapabilityError(
        f"{who} needs {' and '.join(NEEDS[one] for one in sorted(needs - offers))}. {served}. {advice}".rstrip()
    )


def _try(sampler: Sampler, text: str, dataset: Dataset, scorer: Scorer, *, loss: str, made: Settled) -> Negatives:
    """Draws once for two rows and prices them: what cannot work, or ids that do not exist, fail before any work."""
    user, item = (side[:2] for side in dataset.pairs("train"))
    if len(user) == 1:
        scorer = scorer.rows(torch.tensor([0])) if isinstance(scorer, Narrowing) else scorer
    try:
        batch = Batch(user, item, torch.arange(len(user)))
        negatives = sampler.sample(batch, scorer, streams("trial"))
        drawn = negatives.item
    except NegsieveError:
        raise
    except Exception as problem:
        if not spec.parse(text).outside:
            raise
        raise UsageError(f"sampler {text!r} failed to draw: {type(problem).__name__}: {problem}") from problem
    if drawn.dtype != torch.long or drawn.ndim != 2 or len(drawn) not in (1, len(user)):
        raise UsageError(f"sampler {text!r} drew {drawn.dtype} of shape {list(drawn.shape)}, wanted Long[B, K]")
    if drawn.numel() and not 0 <= int(drawn.min()) <= int(drawn.max()) < dataset.n_items:
        raise UsageError(
            f"sampler {text!r} drew items {int(drawn.min())}..{int(drawn.max())}, wanted 0..{dataset.n_items - 1}"
        )
    if spec.parse(loss).name not in losses.WHOLE:
        _try_loss(loss, made, batch, negatives, scorer, sampler=text)
    return negatives


def _try_loss(text: str, made: Settled, batch: Batch, negatives: Negatives, scorer: Scorer, *, sampler: str) -> None:
    """Raises UsageError when the sampler's negatives lack what the loss needs: log q, a bound, any negative at all."""
    sides = (batch.item[:, None], negatives.item)
    positive, negative = (scorer.score(side).expand(len(batch), -1) for side in sides)
    try:
        price(made, positive[:, 0], negative, negatives, batch=batch, scorer=scorer)
    except UsageError as problem:
        raise UsageError(f"loss {text} with sampler {sampler}: {problem}") from problem
    except Exception as problem:
        if not spec.parse(sampler).outside:
            raise
        raise UsageError(
            f"loss {text} cannot take what sampler {sampler!r} draws: {type(problem).__name__}: {problem}"
        ) from problem


def refuse_unfit(config: RunConfig, dataset: Dataset) -> None:
    """Raises before any work when the data cannot be trained on as configured."""
    if not len(dataset.train):
        raise DataError(f"{dataset.name!r} has no row in its train part: there is nothing to learn from")
    full = (known_to(dataset, config.oracle).degree() == dataset.n_items).nonzero().flatten()
    if len(full) and config.train.full_users == "refuse":
        name = dataset.users[int(full[0])]
        raise DataError(
            f"{len(full)} of {dataset.n_users} users have every one of the {dataset.n_items} items in "
            f"{' or '.join(('train', *config.oracle))}, the first "
            f"is {name!r}: no negative is left for them. Remove them, or give their rows no say with "
            "--set train.full_users=skip."
        )
    order = models.order_read(config.model)
    if order is not None and not (dataset.histories("train", order=order).offset.diff() > 1).any():
        raise DataError(
            f"no user of {dataset.name!r} has two rows in train, so nothing comes after anything: {config.model} has "
            "nothing to learn from. Choose mf or lightgcn, or a split that leaves more in train."
        )
    if models.reads_aside(config.model) and dataset.aside is None:
        known = dataset.interactions.domains
        target, source = known[:2] if len(known) > 1 else ("toy", "game")
        raise UsageError(
            f"{config.model} reads a source domain beside the target, and {dataset.name!r} was loaded without one: "
            f"name both, such as --target {target} --source {source}"
        )
    rows = len(dataset.rows("train"))
    if config.train.drop_last and rows < config.train.batch_size:
        raise ConfigError(
            f"train.drop_last with train.batch_size={config.train.batch_size} leaves no batch of "
            f"{rows} train rows: lower the batch size"
        )
    if config.train.select_on == "valid" and config.train.patience and not len(dataset.rows("valid")):
        raise ConfigError(
            "this data set has no validation part, so there is nothing to choose the best epoch on. Carve one out of "
            "train with --set data.split.valid_from_train=0.1, or train for a fixed number of epochs with "
            "--set train.patience=0. (train.select_on=test exists for reproducing papers that did that; it is stamped.)"
        )
