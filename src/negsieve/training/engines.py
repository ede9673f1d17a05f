"""Which engine does the steps of a run: a compiled one where one serves, autograd for everything else.

A compiled engine is another way to the same numbers, so the choice is one of speed. It is made once, before
anything of the run is written, and recorded: a resumed run goes on with the engine that it began with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from negsieve.config import TrainConfig
from negsieve.errors import CapabilityError, ConfigError
from negsieve.kernels import native
from negsieve.lab.meter import Meter
from negsieve.losses import Loss
from negsieve.models.base import Model
from negsieve.models.lightgcn import LightGCN
from negsieve.models.mf import MF
from negsieve.models.named import MODELS
from negsieve.samplers.base import Composition, Learner, Sampler
from negsieve.training import compiled_graph, compiled_mf
from negsieve.training.compiled_graph import CompiledLightGCN
from negsieve.training.compiled_mf import CompiledMF
from negsieve.training.engine import Engine, TorchEngine
from negsieve.types import Negatives

WhyNot = Callable[[Model, Sampler, Loss, TrainConfig], str | None]

COMPILED: dict[type[Model], tuple[type[Engine], WhyNot]] = {
    MF: (CompiledMF, compiled_mf.why_not),
    LightGCN: (CompiledLightGCN, compiled_graph.why_not),
}
"""Model -> its engine, and what says why a run cannot take it, beyond what ``why_not`` asks of every run."""


@dataclass(frozen=True)
class Parts:
    """What a run is made of: ``model`` or a small one of its kind, and ``negatives`` that the sampler drew once."""

    model: Model
    sampler: Sampler
    loss: Loss
    negatives: Negatives


@dataclass(frozen=True)
class Choice:
    """The ``name`` of an engine; ``why`` it is not a compiled one, None where it is."""

    name: str
    why: str | None = None


def choose(parts: Parts, config: TrainConfig, device: torch.device) -> Choice:
    """The engine for a run of such parts.

    Raises CapabilityError where no compiled engine serves the run and ``train.engine`` is "compiled", or the
    optimiser is one that autograd has not.
    """
    why = "train.engine=torch asks for it" if config.engine == "torch" else why_not(parts, config, device)
    if why is None:
        return Choice(COMPILED[type(parts.model)][0].name)
    if config.optimiser == "online_sgd":
        raise CapabilityError(
            f"train.optimiser=online_sgd is done by the compiled steps of mf alone, and not in this run: {why}. Choose "
            "sgd, which takes a step a batch"
        )
    if config.engine == "compiled":
        raise CapabilityError(
            f"train.engine=compiled cannot do this run: {why}. Choose train.engine=auto, which takes a compiled "
            "engine wherever one serves, or torch"
        )
    return Choice(TorchEngine.name, why)


def why_not(parts: Parts, config: TrainConfig, device: torch.device) -> str | None:
    """Why no compiled engine serves such a run, and what would; None where one does."""
    kind = type(parts.model)
    if kind not in COMPILED:
        names = ", ".join(name for name, one in MODELS.items() if one in COMPILED) or "none"
        return f"{kind.__name__} has no compiled engine; models that have one: {names}"
    if device.type != "cpu":
        return f"compiled engines work on the CPU, this run is on {device}: --device cpu"
    if native.module() is None:
        return "there are no compiled kernels here: none were built, or NEGSIEVE_KERNELS=off"
    why = _why_not_with(parts.sampler, parts.negatives, trusting=config.engine == "compiled")
    return why or COMPILED[kind][1](parts.model, parts.sampler, parts.loss, config)


def _why_not_with(sampler: Sampler, negatives: Negatives, *, trusting: bool) -> str | None:
    """What a sampler does that takes autograd. ``trusting``: code outside negsieve is taken by what it has drawn."""
    for one in (part for part in sampler.modules() if isinstance(part, Learner)):
        name = type(one).__name__
        if not isinstance(one, Composition) and next(one.parameters(), None) is not None:
            return f"the sampler's {name} has parameters, which are trained by autograd"
        if type(one).auxiliary not in (Learner.auxiliary, Composition.auxiliary):
            return f"the sampler's {name} adds a term to the loss"
        if one.synthetic:
            return f"the sampler's {name} makes vectors that are no items"
        if not type(one).__module__.startswith("negsieve.") and not trusting:
            return f"the sampler's {name} is code outside negsieve; train.engine=compiled takes it if it draws items"
    if next(sampler.parameters(), None) is not None:
        return "the sampler has parameters, which are trained by autograd"
    if negatives.vector is not None:
        return "the sampler makes vectors that are no items"
    if len(negatives.item) == 1:
        return "the sampler's negatives are shared by the batch, which is one matmul for torch"
    return None


def make_engine(
    name: str,
    model: Model,
    sampler: Sampler,
    loss: Loss,
    *,
    user: torch.Tensor,
    item: torch.Tensor,
    meter: Meter,
    config: TrainConfig,
    beside: nn.Module,
    sampler_name: str,
) -> Engine:
    """The engine of that name, with what ``TorchEngine`` takes. Raises ConfigError for a name that is none."""
    known = {TorchEngine.name: TorchEngine} | {one.name: one for one, _ in COMPILED.values()}
    if name not in known:
        raise ConfigError(f"the run was begun with the engine {name!r}, this version has {', '.join(known)}")
    return known[name](
        model,
        sampler,
        loss,
        user=user,
        item=item,
        meter=meter,
        config=config,
        beside=beside,
        sampler_name=sampler_name,
    )
