"""The two roles of every published method: a Sampler draws candidates, a Stage refines them.

``Chain(source, *stages)`` composes them; ``combine.py`` has the other combinators. All are Learners:
memory is buffers, so ``.to()`` and checkpoints come for free. Two rules are enforced by
``negsieve.testing.check_sampler``: ``sample`` and ``refine`` never write memory, and never touch
global randomness.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from negsieve.schedule import each_schedule
from negsieve.scorers import Encoder, Scorer
from negsieve.types import Batch, Negatives

Evidence = dict[str, Tensor]


class Learner(nn.Module):
    """Something with memory. The hooks do nothing unless a subclass gives them a body.

    Parameters are trained with the model, by its optimiser (the gates of a synthesiser). An adversary's
    weights are buffers instead, moved by ``refresh`` and ``learn`` alone with an optimiser of its own
    (``adversary.Descent``): so its phases, its purity and its checkpoints need no rule of their own.

    needs    what its scorer must offer beyond scores: keys of ``negsieve.scorers.NEEDS``
    advice   what to use instead where a model does not offer that, a sentence for the user
    elastic  names of buffers whose shape is known only at the first refresh; a checkpoint restores
             them into any fresh instance
    synthetic  whether it makes negatives that are vectors of their own, now or later
    noiseless  whether it chooses by scores without the forward pass's own noise, such as dropout: a step
               then gives all parts of the sampler such scores, and only prices the chosen with the noise
    """

    needs: frozenset[str] = frozenset()
    advice: str = ""
    elastic: tuple[str, ...] = ()
    synthetic: bool = False
    noiseless: bool = False

    def begin(self, epoch: int, view: Encoder, rng: torch.Generator) -> None:
        """What a loop calls before every epoch, from 0: moves the schedules, then refreshes."""
        each_schedule(self, lambda one: one.move(epoch))
        self.refresh(epoch, view, rng)

    def refresh(self, epoch: int, view: Encoder, rng: torch.Generator) -> None:
        """Before an epoch: rebuild pools and clusters, train an adversary on ``view``, the frozen model."""

    def auxiliary(self, batch: Batch, negatives: Negatives, scorer: Scorer) -> Tensor | None:
        """``Float[B]``: a term that the method adds to the loss, with gradient. Writes nothing."""

    def observe(
        self, batch: Batch, negatives: Negatives, scorer: Scorer, loss: Tensor, rng: torch.Generator
    ) -> Evidence | None:
        """After a step: what this shard saw and memory should learn from. Writes nothing."""

    def learn(self, evidence: list[Evidence]) -> None:
        """All shards' evidence, in shard order. The only writer of memory inside an epoch."""

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        for name in self.elastic:
            found, own = state_dict.get(prefix + name), getattr(self, name)
            if found is not None and found.shape != own.shape:
                setattr(self, name, torch.empty(found.shape, dtype=own.dtype, device=own.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Sampler(Learner, ABC):
    """Draws negatives for a batch."""

    @abstractmethod
    def sample(self, batch: Batch, scorer: Scorer, rng: torch.Generator) -> Negatives:
        """A pure function of (memory, batch, scores, rng)."""


class LawfulSampler(Sampler, ABC):
    """A sampler that knows the probability of any item under its law."""

    @abstractmethod
    def log_prob(self, batch: Batch, item: Tensor) -> Tensor:
        """``item Long[B|1, M]`` -> ``Float[B|1, M]``: log-probability of each, ``-inf`` where it cannot be drawn."""


class Stage(Learner, ABC):
    """Turns negatives into other negatives: filters, selects, reweights, synthesises."""

    @abstractmethod
    def refine(self, negatives: Negatives, batch: Batch, scorer: Scorer, rng: torch.Generator) -> Negatives:
        """A pure function of (memory, negatives, batch, scores, rng)."""

    def drawn_from(
        self, parts: Sequence[Learner], batch: Batch, scorer: Scorer, rng: torch.Generator
    ) -> Negatives | None:
        """What ``refine`` makes of what a source and the stages after it, ``parts``, hand on, to the bit.

        Of draws that are not kept the items may differ. None, with ``rng`` untouched, where the stage has no quicker
        way to it than one part after the other.
        """
        return None


class Composition(Learner):
    """A Learner made of others, whose hooks reach all of them in order."""

    def parts(self) -> Iterable[Learner]:
        """The Learners inside, in order."""
        return [one for one in self.children() if isinstance(one, Learner)]

    def scorer_of(self, part: Learner, batch: Batch, scorer: Scorer) -> Scorer:
        """What a part's hooks see of a step: the scorer of the model that is trained."""
        return scorer

    def refresh(self, epoch, view, rng):
        for part in self.parts():
            part.refresh(epoch, view, rng)

    def auxiliary(self, batch, negatives, scorer):
        asked = [part for part in self.parts() if type(part).auxiliary is not Learner.auxiliary]
        terms = [part.auxiliary(batch, negatives, self.scorer_of(part, batch, scorer)) for part in asked]
        terms = [term for term in terms if term is not None]
        return sum(terms) if terms else None

    def observe(self, batch, negatives, scorer, loss, rng):
        found = {}
        for place, part in enumerate(self.parts()):
            if type(part).observe is Learner.observe:
                continue  # another model's forward pass is not worth a hook that does nothing
            told = part.observe(batch, negatives, self.scorer_of(part, batch, scorer), loss, rng)
            found |= {f"{place}.{name}": value for name, value in (told or {}).items()}
        return found or None

    def learn(self, evidence):
        for place, part in enumerate(self.parts()):
            prefix = f"{place}."
            own = [{k.removeprefix(prefix): v for k, v in one.items() if k.startswith(prefix)} for one in evidence]
            if any(own):
                part.learn(own)


class Chain(Composition, Sampler):
    """A source and the stages its draws pass through, in order."""

    def __init__(self, source: Sampler, *stages: Stage) -> None:
        super().__init__()
        self.source, self.stages = source, nn.ModuleList(stages)

    def parts(self):
        return [self.source, *self.stages]

    def sample(self, batch, scorer, rng):
        negatives, left = self._drawn_by_the_last(batch, scorer, rng)
        if negatives is None:
            negatives, left = self.source.sample(batch, scorer, rng), self.stages
        for stage in left:
            negatives = stage.refine(negatives, batch, scorer, rng)
        return negatives

    def _drawn_by_the_last(
        self, batch: Batch, scorer: Scorer, rng: torch.Generator
    ) -> tuple[Negatives | None, Sequence[Stage]]:
        """What the last stage that has a quick way draws, and the stages after it."""
        parts = self.parts()
        for place in range(len(parts) - 1, 0, -1):
            negatives = parts[place].drawn_from(parts[:place], batch, scorer, rng)
            if negatives is not None:
                return negatives, parts[place + 1 :]
        return None, ()
