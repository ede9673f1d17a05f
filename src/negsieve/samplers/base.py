"""The two roles of every published method: a Sampler draws candidates, a Stage refines them.

``Chain(source, *stages)`` composes them. Both are Learners: their memory is buffers, an adversary
is parameters, so ``.to()`` and checkpoints come for free. Two rules are enforced by
``negsieve.testing.check_sampler``: ``sample`` and ``refine`` never write memory, and never touch
global randomness.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from negsieve.scorers import Encoder, Scorer
from negsieve.types import Batch, Negatives


class Learner(nn.Module):
    """Something with memory. The hooks do nothing unless a subclass gives them a body."""

    def refresh(self, epoch: int, view: Encoder, rng: torch.Generator) -> None:
        """Before an epoch: rebuild pools and clusters, move a curriculum."""

    def observe(self, batch: Batch, negatives: Negatives, scorer: Scorer, loss: Tensor) -> dict[str, Tensor] | None:
        """After a step: what this shard saw and memory should learn from. Writes nothing."""

    def learn(self, evidence: list[dict[str, Tensor]]) -> None:
        """All shards' evidence, in shard order. The only writer of memory inside an epoch."""


class Sampler(Learner, ABC):
    """Draws negatives for a batch."""

    @abstractmethod
    def sample(self, batch: Batch, scorer: Scorer, rng: torch.Generator) -> Negatives:
        """A pure function of (memory, batch, scores, rng)."""


class Stage(Learner, ABC):
    """Turns negatives into other negatives: filters, selects, reweights, synthesises."""

    @abstractmethod
    def refine(self, negatives: Negatives, batch: Batch, scorer: Scorer, rng: torch.Generator) -> Negatives:
        """A pure function of (memory, negatives, batch, scores, rng)."""


class Chain(Sampler):
    """A source and the stages its draws pass through, in order."""

    def __init__(self, source: Sampler, *stages: Stage) -> None:
        super().__init__()
        self.source, self.stages = source, nn.ModuleList(stages)

    def sample(self, batch, scorer, rng):
        negatives = self.source.sample(batch, scorer, rng)
        for stage in self.stages:
            negatives = stage.refine(negatives, batch, scorer, rng)
        return negatives

    def refresh(self, epoch, view, rng):
        for part in (self.source, *self.stages):
            part.refresh(epoch, view, rng)

    def observe(self, batch, negatives, scorer, loss):
        seen = [part.observe(batch, negatives, scorer, loss) for part in (self.source, *self.stages)]
        found = {f"{place}.{name}": value for place, one in enumerate(seen) for name, value in (one or {}).items()}
        return found or None

    def learn(self, evidence):
        for place, part in enumerate((self.source, *self.stages)):
            prefix = f"{place}."
            own = [{k.removeprefix(prefix): v for k, v in one.items() if k.startswith(prefix)} for one in evidence]
            if any(own):
                part.learn(own)
