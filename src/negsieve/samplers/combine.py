"""Samplers made of samplers: side by side, at random, by the row, or against another model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from negsieve.errors import CapabilityError, UsageError
from negsieve.samplers.base import Composition, LawfulSampler, Sampler, Stage
from negsieve.scorers import Encoder, Narrowing, Scorer, VectorScorer
from negsieve.types import Batch, Negatives


class Concat(Composition, Sampler):
    """Every sampler's negatives side by side: ``K = K_1 + K_2 + ..``.

    mixture  ``log_q`` is the law of an item drawn by any of them, ``q(j) = sum_a (K_a / K) q_a(j)``, which a
             softmax correction needs (Yang et al., WWW 2020); every part must then know its law. False: each
             negative keeps the law of the part that drew it, and there is none if one part gives none.

    Sets shared by the batch stay shared when all parts share. Synthetic vectors beside plain items ask
    the scorer for the items' own.
    """

    def __init__(self, *samplers: Sampler, mixture: bool = False) -> None:
        super().__init__()
        if len(samplers) < 2:
            raise UsageError(f"Concat of {len(samplers)} sampler(s), wanted two or more")
        if mixture:
            _refuse_lawless(samplers)
        self.samplers, self.mixture = nn.ModuleList(samplers), mixture

    def parts(self):
        return list(self.samplers)

    def sample(self, batch, scorer, rng):
        drawn = [one.sample(batch, scorer, rng) for one in self.samplers]
        joined = join(drawn, len(batch), scorer)
        if not self.mixture:
            return joined
        share = [one.item.shape[1] / joined.item.shape[1] for one in drawn]
        own = None if batch.item is None else mixture_log_prob(self.samplers, share, batch, batch.item[:, None])
        log_q = mixture_log_prob(self.samplers, share, batch, joined.item)
        if own is not None and not bool(own.isfinite().all()):
            own = None  # where all parts exclude the positive it has no law, and log 0 would correct it to infinity
        return replace(joined, log_q=log_q, positive_log_q=None if own is None else own.expand(len(batch), 1)[:, 0])


class Mix(Composition, LawfulSampler):
    """Each single negative comes from one of the samplers, chosen at random: ``Mix((0.8, a), (0.2, b))``.

    All must draw equally many and know their law; shares must sum to 1. ``log_q`` is the mixture's.
    """

    def __init__(self, *choices: tuple[float, Sampler]) -> None:
        super().__init__()
        shares = [float(share) for share, _ in choices]
        if not choices or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise UsageError(f"the shares of a Mix are {shares}, wanted shares from 0 that sum to 1")
        samplers = [sampler for _, sampler in choices]
        _refuse_lawless(samplers)
        self.samplers, self.shares = nn.ModuleList(samplers), shares

    def parts(self):
        return list(self.samplers)

    def sample(self, batch, scorer, rng):
        drawn = [spread(one.sample(batch, scorer, rng), len(batch)) for one in self.samplers]
        widths = {one.item.shape[1] for one in drawn}
        if len(widths) > 1:
            raise UsageError(f"the samplers of a Mix draw {sorted(widths)} negatives a row: give all the same number")
        lot = torch.rand(drawn[0].item.shape, generator=rng, device=batch.user.device)
        found, top = drawn[0], self.shares[0]
        for share, other in zip(self.shares[1:], drawn[1:], strict=True):
            found = where(lot < top, found, other)
            top += share
        return replace(found, log_q=self.log_prob(batch, found.item), positive_log_q=None)

    def log_prob(self, batch, item):
        return mixture_log_prob(self.samplers, self.shares, batch, item)


class Route(Composition, Sampler):
    """Some rows ask one sampler, the others another; both must draw equally many.

    rule  ``Batch -> Bool[B]``: True goes to ``yes``. A module's buffers are part of the memory.
    """

    def __init__(self, rule: Callable[[Batch], Tensor], yes: Sampler, no: Sampler) -> None:
        super().__init__()
        self.rule, self.yes, self.no = rule, yes, no

    def sample(self, batch, scorer, rng):
        yes, no = (spread(one.sample(batch, scorer, rng), len(batch)) for one in (self.yes, self.no))
        if yes.item.shape[1] != no.item.shape[1]:
            counts = f"{yes.item.shape[1]} and {no.item.shape[1]}"
            raise UsageError(f"the two ways of a Route draw {counts} negatives a row: give both the same number")
        return where(self.rule(batch)[:, None], yes, no)


class With(Composition, Stage):
    """Runs a stage against another model: a generator, a source domain, a text embedding.

    view  ``Batch -> Scorer``. A Learner (an adversary) has its hooks called too, with the model that is trained

    The hooks of the stage see what its choice sees, the other model.
    """

    def __init__(self, view: Encoder, stage: Stage) -> None:
        super().__init__()
        self.view, self.stage = view, stage

    def refine(self, negatives, batch, scorer, rng):
        return self.stage.refine(negatives, batch, self.view(batch), rng)

    def refresh(self, epoch, view, rng):
        for part in self.parts():
            part.refresh(epoch, self.view if part is self.stage else view, rng)

    def scorer_of(self, part, batch, scorer):
        return self.view(batch) if part is self.stage else scorer


def spread(negatives: Negatives, rows: int) -> Negatives:
    """The same negatives with every field a row of its own, none shared."""
    fields = ("item", "keep", "log_q", "weight", "vector", "ego", "parts", "origin")
    known = {name: getattr(negatives, name) for name in fields}
    wide = {name: value.expand(rows, *value.shape[1:]) for name, value in known.items() if value is not None}
    return replace(negatives, **wide)


def where(first: Tensor, yes: Negatives, no: Negatives) -> Negatives:
    """``yes`` where ``first Bool[B, K|1]`` holds, else ``no``; both of B rows and K negatives.

    A mask, weight or origin that one side lacks counts as kept, as 1 and as random. What only one side knows of
    other fields is dropped, because half a law or half a vector is none.
    """

    def pick(name: str, neutral: float | None) -> Tensor | None:
        a, b = getattr(yes, name), getattr(no, name)
        if a is None and b is None:
            return None
        if neutral is None and (a is None or b is None):
            return None
        a = torch.full_like(b, neutral) if a is None else a
        b = torch.full_like(a, neutral) if b is None else b
        return torch.where(first.reshape(*first.shape, *(1 for _ in a.shape[2:])), a, b)

    item = torch.where(first, yes.item, no.item)
    neutral = {"keep": True, "weight": 1.0, "origin": 0, "log_q": None, "vector": None, "ego": None, "parts": None}
    return Negatives(item, **{name: pick(name, value) for name, value in neutral.items()})


def join(drawn: list[Negatives], rows: int, scorer: Scorer) -> Negatives:
    """Several sets side by side, fields that some lack filled in or dropped."""
    if len({len(one.item) for one in drawn}) > 1:
        drawn = [spread(one, rows) for one in drawn]

    def beside(name: str, empty: Callable[[Negatives], Tensor] | None) -> Tensor | None:
        found = [getattr(one, name) for one in drawn]
        if all(value is None for value in found) or (empty is None and any(value is None for value in found)):
            return None
        found = [empty(one) if value is None else value for value, one in zip(found, drawn, strict=True)]
        many = max(len(value) for value in found)
        return torch.cat([value.expand(many, *value.shape[1:]) for value in found], dim=1)

    return Negatives(
        torch.cat([one.item for one in drawn], dim=1),
        keep=beside("keep", lambda one: torch.ones_like(one.item, dtype=torch.bool)),
        weight=beside("weight", lambda one: torch.ones(one.item.shape, device=one.item.device)),
        log_q=beside("log_q", None),
        vector=beside("vector", lambda one: own_vectors(one, scorer)),
        origin=beside("origin", lambda one: torch.zeros(one.item.shape, dtype=torch.int8, device=one.item.device)),
    )


def own_vectors(negatives: Negatives, scorer: Scorer) -> Tensor:
    """The items' own vectors, ``Float[B|1, K, D]``: what plain negatives beside synthetic ones stand for."""
    if not isinstance(scorer, VectorScorer):
        raise UsageError("synthetic negatives beside plain ones need a scorer that shows vectors, such as Dot")
    return scorer.vectors(negatives.item)


def mixture_log_prob(samplers, shares, batch: Batch, item: Tensor) -> Tensor:
    """``log sum_a share_a q_a(j)``: ``item Long[B|1, M]`` -> ``Float[B|1, M]``."""
    terms = [one.log_prob(batch, item) + _log(share) for one, share in zip(samplers, shares, strict=True)]
    rows = max(len(term) for term in terms)
    return torch.logsumexp(torch.stack([term.expand(rows, -1) for term in terms]), dim=0)


def _log(share: float) -> float:
    """``log(share)``, ``-inf`` at 0."""
    return float(torch.tensor(share, dtype=torch.float64).log())


def _refuse_lawless(samplers) -> None:
    for one in samplers:
        if not isinstance(one, LawfulSampler):
            raise UsageError(f"{type(one).__name__} does not know the law of its draws, which a mixture's log q needs")


def narrowed(scorer: Scorer, place: Tensor, *, of: int | None = None) -> Scorer:
    """A scorer of the rows at ``place Long[b]``, itself where these are all ``of`` its rows.

    Raises CapabilityError where it cannot stand for some of them.
    """
    if len(place) == of:
        return scorer
    if isinstance(scorer, Narrowing):
        return scorer.rows(place)
    raise CapabilityError(f"{type(scorer).__name__} cannot rate for some of its rows alone: it needs rows(place)")
