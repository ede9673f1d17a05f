"""What does the steps of a run: from the rows of a batch to updated weights, measured on the way.

``TorchEngine`` is the definition: any model, sampler and loss, by autograd. Another engine is a faster
way to the same numbers for some of them, never another method.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from negsieve.config import TrainConfig
from negsieve.lab.meter import Meter
from negsieve.losses import Loss
from negsieve.models.base import Model
from negsieve.rng import derive, streams
from negsieve.samplers.base import Sampler
from negsieve.store.checkpoint import pack_optimiser, unpack_optimiser
from negsieve.training.optimise import make_optimiser
from negsieve.training.step import forward, refuse_non_finite
from negsieve.training.watch import Stopwatch
from negsieve.types import Batch


class Engine(ABC):
    """Does steps.

    name   what the run's records call it
    block  how many steps are worth doing in one call
    """

    name: str
    block: int = 1

    @abstractmethod
    def advance(self, epoch: int, first: int, rows: Sequence[Tensor], clock: Stopwatch) -> None:
        """Does steps ``first, first + 1, ..`` of an epoch; ``rows`` holds a ``Long[b]`` of train rows for each.

        Raises NonFiniteLoss before anything of the bad step was updated.
        """

    @abstractmethod
    def set_rate(self, lr: float) -> None:
        """The learning rate from the next step on."""

    @abstractmethod
    def settle(self) -> None:
        """Makes the model's parameters what they stand for; whoever reads them outside of steps comes after this."""

    @abstractmethod
    def pack(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The optimiser's memory as tensors and JSON, such that an engine that unpacks it goes on bit for bit."""

    @abstractmethod
    def unpack(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Puts back what ``pack`` took. Raises ConfigError when it is another optimiser's."""


class TorchEngine(Engine):
    """Steps by autograd.

    user, item  the train pairs, ``Long[n]``, on the device
    beside      what has gradients or memory beside the model and the sampler, such as a loss that is a module
    """

    name = "torch"

    def __init__(
        self,
        model: Model,
        sampler: Sampler,
        loss: Loss,
        *,
        user: Tensor,
        item: Tensor,
        meter: Meter,
        config: TrainConfig,
        beside: nn.Module,
        sampler_name: str,
    ) -> None:
        self.model, self.sampler, self.loss, self.meter, self.config = model, sampler, loss, meter, config
        self.user, self.item, self.sampler_name = user, item, sampler_name
        trained = (*model.parameters(), *sampler.parameters(), *beside.parameters())
        self.optimiser = make_optimiser(trained, config)

    def set_rate(self, lr):
        for group in self.optimiser.param_groups:
            group["lr"] = lr

    def advance(self, epoch, first, rows, clock):
        for step, taken in enumerate(rows, first):
            self._step(epoch, step, taken, clock)

    def _step(self, epoch: int, step: int, rows: Tensor, clock: Stopwatch) -> None:
        config, device = self.config, self.user.device
        rows = rows.to(device)
        noise = derive("forward", epoch, step, seed=config.seed)
        batch = Batch(self.user[rows], self.item[rows], rows, noise=noise)
        rng = streams("negatives", epoch, step, seed=config.seed, device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            outcome = forward(self.model, self.sampler, self.loss, batch, rng, lap=clock.lap)
            total = outcome.total(l2=config.l2)
        refuse_non_finite(total, outcome, self.model, epoch=epoch, step=step, sampler=self.sampler_name)
        outcome.positive.retain_grad()
        self.optimiser.zero_grad()
        total.backward()
        clock.lap("backward")
        self.meter.observe(
            batch,
            outcome.negatives,
            outcome.scorer,
            loss=outcome.loss,
            penalty=outcome.penalty,
            gradient=outcome.positive.grad * len(batch),
            step=step,
            rng=streams("meter", epoch, step, seed=config.seed, device=device),
        )
        rng = streams("observe", epoch, step, seed=config.seed, device=device)
        with torch.no_grad():
            evidence = self.sampler.observe(batch, outcome.negatives, outcome.scorer, outcome.loss.detach(), rng)
        clock.lap("measure")
        self.optimiser.step()
        if evidence is not None:
            self.sampler.learn([evidence])
        clock.lap("optimise")

    def settle(self):
        pass  # a step leaves nothing for later

    def pack(self):
        return pack_optimiser(self.optimiser)

    def unpack(self, tensors, state):
        unpack_optimiser(self.optimiser, tensors, state)
