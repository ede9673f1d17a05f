"""The contract of a sampler, as a check that anybody can run on their own.

``check_sampler(lambda: Nearby(50, width=5, k=4), n_items=50)`` draws a few hundred times and
raises ``CheckFailed`` with a sentence that names the broken rule. Every sampler of negsieve
passes it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from negsieve.rng import streams
from negsieve.samplers.base import Sampler
from negsieve.scorers import Encoder
from negsieve.seen import Seen
from negsieve.testing.answers import (
    CheckFailed,
    check_shapes,
    check_values,
    difference,
    equal,
    memory_of,
    same_memory,
)
from negsieve.testing.standin import stand_in
from negsieve.types import Batch, Negatives

_DIM = 8
_TRIES = 8


@dataclass(frozen=True)
class Report:
    """What a sampler was seen to do.

    passed         the rules that hold, in the order checked
    n_negatives    K at a batch of several rows; 0 for a sampler that goes with a loss over the whole catalogue
    shared         whether one set of negatives serves the batch, ``item [1, K]``
    deterministic  whether no generator changed a draw: lawful, but say so on purpose
    learns         whether ``observe`` gave evidence
    """

    passed: tuple[str, ...]
    n_negatives: int
    shared: bool
    deterministic: bool
    learns: bool


def check_sampler(
    make: Callable[[], Sampler],
    *,
    n_users: int = 20,
    n_items: int = 50,
    scorer: Encoder | None = None,
    seen: Seen | None = None,
    device: str | torch.device = "cpu",
) -> Report:
    """Checks that a sampler keeps the contract, and reports what it is like.

    make             a function without arguments that gives a fresh, equal sampler at every call
    n_users, n_items the ids that the sampler may be asked about run below these
    scorer           ``Batch -> Scorer``; by default dot products of random vectors of two layers, or of the states
                     of two domains where a part of the sampler needs these
    seen             pairs that must never be drawn with ``keep=True``; a user in it who has every
                     item must get ``keep=False``, or a ``ValueError`` that names the user
    device           where the batches live; the sampler is moved there

    Raises ``CheckFailed``, a ``ValueError``, at the first broken rule. The rules: ``shape``, ``range``,
    ``purity``, ``seeding``, ``no global randomness``, ``gradients``, ``auxiliary``, ``exclusion``, ``memory``,
    ``device``. All but ``seeding`` and ``memory`` are tried on a fresh sampler and on one that has been
    refreshed and has learned from a few steps.
    """
    device = torch.device(device)
    tables = [torch.randn(n, _DIM, generator=streams("check", n), requires_grad=True) for n in (n_users, n_items)]
    user, item = (table.to(device) for table in tables)
    encode = scorer or stand_in(make(), user, item)
    trial = _Trial(make, encode, n_users, n_items, seen, device)
    rules = {
        "shape": trial.shape,
        "range": trial.range,
        "purity": trial.purity,
        "no global randomness": trial.no_global_randomness,
        "gradients": trial.gradients,
        "auxiliary": trial.auxiliary,
        "exclusion": trial.exclusion,
    }
    for rule in rules.values():
        rule()
    once = {"seeding": trial.seeding, "memory": trial.memory}
    for rule in once.values():
        rule()
    trial.warm = True
    for rule in rules.values():
        try:
            rule()
        except CheckFailed as broken:
            told = str(broken).removeprefix(f"{broken.rule}: ")
            raise CheckFailed(broken.rule, f"after a refresh and some steps, {told}") from None
    return Report((*rules, *once), trial.n_negatives, trial.is_shared, trial.deterministic, trial.learns)


class _Trial:
    """One sampler under test; each public method is a rule, tried on what ``subject`` gives.

    ``warm`` says whether that is a fresh sampler or one that has learned.
    """

    def __init__(self, make, encode: Encoder, n_users: int, n_items: int, seen: Seen | None, device) -> None:
        self.make, self.encode, self.device = make, encode, device
        self.n_users, self.n_items, self.seen = n_users, n_items, seen
        full = torch.zeros(n_users, dtype=torch.bool) if seen is None else seen.degree().cpu() >= n_items
        self.full, self.plain = full.nonzero().flatten(), (~full).nonzero().flatten()
        if not len(self.plain):
            raise ValueError("every user in seen has every item: nothing can be drawn, so nothing checked")
        self.n_negatives, self.is_shared, self.deterministic, self.learns = 0, False, False, False
        self.warm = False

    def fresh(self) -> Sampler:
        sampler = self.make()
        if not isinstance(sampler, Sampler):
            raise CheckFailed("shape", f"make() gave a {type(sampler).__name__}, wanted a negsieve Sampler")
        return sampler.to(self.device)

    def subject(self) -> Sampler:
        """A sampler to try a rule on: fresh, or with experience; equal at every call."""
        return self.experienced(self.fresh())

    def experienced(self, sampler: Sampler) -> Sampler:
        """``sampler`` itself, after two refreshes with some steps each where the trial is warm."""
        for epoch in range(2 if self.warm else 0):
            self.epoch(sampler, epoch)
        return sampler

    def epoch(self, sampler: Sampler, epoch: int) -> None:
        """A refresh and three steps."""
        sampler.begin(epoch, self.encode, streams("check refresh", epoch, device=self.device))
        for step in range(3):
            self.step(sampler, 3 * epoch + step)

    def batch(self, rows: int, key: int = 0, users: Tensor | None = None) -> Batch:
        """``rows`` random positives, with users who still have something to draw unless said otherwise."""
        rng, users = streams("check batch", rows, key), self.plain if users is None else users
        user = users[torch.randint(len(users), (rows,), generator=rng)]
        item = torch.randint(self.n_items, (rows,), generator=rng)
        return Batch(user, item, torch.arange(rows)).to(self.device)

    def draw(self, sampler: Sampler, batch: Batch, key: int = 0) -> Negatives:
        """One ``sample`` with the stream ``key``, whose answer must be ``Negatives``."""
        found = sampler.sample(batch, self.encode(batch), streams("check draw", key, device=self.device))
        if not isinstance(found, Negatives):
            raise CheckFailed("shape", f"sample gave a {type(found).__name__}, wanted Negatives")
        return found

    def shape(self) -> None:
        sampler, widths = self.subject(), {}
        for rows in (7, 3, 1):
            found = self.draw(sampler, self.batch(rows))
            check_shapes(found, rows, self.device)
            widths[rows] = found.item.shape[1]
            if rows == 7:
                self.n_negatives, self.is_shared = widths[7], len(found.item) == 1
        if not self.is_shared and len(set(widths.values())) > 1:
            raise CheckFailed("shape", f"K changes with the batch: {widths} negatives a row at so many rows")

    def range(self) -> None:
        sampler = self.subject()
        for key in range(_TRIES):
            found = self.draw(sampler, self.batch(16, key), key)
            for name in ("item", "parts"):
                ids = getattr(found, name)
                if ids is not None and ids.numel() and not (0 <= int(ids.min()) and int(ids.max()) < self.n_items):
                    raise CheckFailed(
                        "range", f"{name} holds ids {int(ids.min())}..{int(ids.max())}, wanted 0..{self.n_items - 1}"
                    )
            check_values(found, rows=16)

    def purity(self) -> None:
        sampler, batch = self.subject(), self.batch(16)
        before, copy = memory_of(sampler), Batch(batch.user.clone(), batch.item.clone(), batch.row.clone())
        first = self.draw(sampler, batch)
        same_memory(before, sampler, "purity", "sample changed")
        if not all(torch.equal(getattr(batch, name), getattr(copy, name)) for name in ("user", "item", "row")):
            raise CheckFailed("purity", "sample changed the batch that it was given")
        if (name := difference(first, self.draw(sampler, batch))) is not None:
            raise CheckFailed("purity", f"two calls with equal generators differ in {name}: sample keeps hidden memory")
        if (name := difference(first, self.draw(self.subject(), batch))) is not None:
            raise CheckFailed("purity", f"two samplers from make() differ in {name} with equal generators")

    def seeding(self) -> None:
        sampler, batch = self.fresh(), self.batch(16)
        first = self.draw(sampler, batch, 0)
        self.deterministic = all(difference(first, self.draw(sampler, batch, key)) is None for key in range(1, _TRIES))

    def no_global_randomness(self) -> None:
        one, two, batch = self.fresh(), self.fresh(), self.batch(16)
        with _global_streams(1) as moved:
            first = self.draw(self.experienced(one), batch)
        with _global_streams(2):
            second = self.draw(self.experienced(two), batch)
        if moved:
            raise CheckFailed("no global randomness", f"sample used the global generator of {', '.join(moved)}")
        if difference(first, second) is not None:
            raise CheckFailed("no global randomness", "draws change with a global seed: use the generator given")

    def gradients(self) -> None:
        sampler, batch = self.subject(), self.batch(16)
        scorer = self.encode(batch)
        leaves = [value for value in vars(scorer).values() if isinstance(value, Tensor) and value.is_floating_point()]
        before = [value.detach().clone() for value in leaves]
        found = sampler.sample(batch, scorer, streams("check draw", 0, device=self.device))
        if not all(torch.equal(old, new) for old, new in zip(before, leaves, strict=True)):
            raise CheckFailed("gradients", "sample changed the scorer's tensors")
        if any(value.is_leaf and value.grad is not None for value in leaves):
            raise CheckFailed("gradients", "sample left a gradient on the scorer: select under torch.no_grad()")
        for name in ("keep", "log_q", "positive_log_q", "bound"):
            value = getattr(found, name)
            if value is not None and value.requires_grad:
                raise CheckFailed("gradients", f"{name} carries a gradient: choose under torch.no_grad(), or detach")
        if found.weight is not None and found.weight.requires_grad and not any(True for _ in sampler.parameters()):
            raise CheckFailed("gradients", "weight carries a gradient into the model: detach it")

    def auxiliary(self) -> None:
        """A term of the loss is a number a row, and computing it is as pure as drawing."""
        sampler, batch = self.subject(), self.batch(16)
        scorer, found, before = self.encode(batch), self.draw(sampler, batch), memory_of(sampler)
        with _global_streams(1) as moved:
            value = sampler.auxiliary(batch, found, scorer)
        same_memory(before, sampler, "auxiliary", "auxiliary changed")
        if value is None:
            return
        if not isinstance(value, Tensor) or value.shape != (len(batch),) or not value.is_floating_point():
            shown = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise CheckFailed("auxiliary", f"auxiliary gave {shown} for {len(batch)} rows, wanted Float[{len(batch)}]")
        if not bool(value.detach().isfinite().all()):
            raise CheckFailed("auxiliary", "auxiliary is not finite")
        if moved or not equal(value.detach(), sampler.auxiliary(batch, found, scorer).detach()):
            raise CheckFailed("auxiliary", "auxiliary is random: draw in sample, with the generator given")

    def memory(self) -> None:
        """What a checkpoint keeps is all there is: a restored sampler goes on alike."""
        sampler = self.fresh()
        self.epoch(sampler, 0)
        restored = self.fresh()
        for part in restored.modules():
            lost = [
                name for name in getattr(part, "elastic", ()) if name not in dict(part.named_buffers(recurse=False))
            ]
            if lost:
                raise CheckFailed(
                    "memory", f"{type(part).__name__}.elastic names {lost[0]!r}, which is no buffer of it"
                )
        restored.load_state_dict({name: value.clone() for name, value in sampler.state_dict().items()})
        for step in range(3, 6):
            batch = self.batch(16, step)
            if (name := difference(self.draw(sampler, batch, step), self.draw(restored, batch, step))) is not None:
                raise CheckFailed(
                    "memory", f"a sampler restored from state_dict differs in {name}: keep all memory in buffers"
                )
            self.step(sampler, step)
            self.step(restored, step)
        kept = restored.state_dict()
        lost = [
            name for name, value in sampler.state_dict().items() if name not in kept or not equal(value, kept[name])
        ]
        if lost:
            raise CheckFailed(
                "memory", f"a restored sampler learned otherwise: {', '.join(lost)} differs after 3 steps"
            )

    def step(self, sampler: Sampler, key: int) -> None:
        """One step of training, from drawing to learning, in two shards."""
        evidence = []
        for shard in range(2):
            batch = self.batch(16, 2 * key + shard)
            found, before = self.draw(sampler, batch, key), memory_of(sampler)
            loss = streams("check loss", key, shard)
            loss = torch.rand(len(batch), generator=loss).to(self.device)
            rng = streams("check observe", key, shard, device=self.device)
            with torch.no_grad():
                seen = sampler.observe(batch, found, self.encode(batch), loss, rng)
            same_memory(before, sampler, "memory", "observe changed")
            if seen is not None:
                evidence.append(seen)
        self.learns |= bool(evidence)
        if evidence:
            sampler.learn(evidence)

    def exclusion(self) -> None:
        """Nothing in ``seen`` is kept, and a user who has everything is masked or refused by name."""
        if self.seen is None:
            return
        sampler, seen = self.subject(), self.seen.to(self.device)
        for key in range(_TRIES):
            batch = self.batch(16, key)
            found = self.draw(sampler, batch, key)
            wrong = seen.contains(batch.user, found.item)  # [B, K]
            wrong = wrong if found.keep is None else wrong & found.keep
            if wrong.any():
                row, place = wrong.nonzero()[0].tolist()
                item = int(found.item.expand(len(wrong), -1)[row, place])
                raise CheckFailed("exclusion", f"user {int(batch.user[row])} got item {item}, which it has seen")
        if len(self.full):
            self.saturated(sampler, self.batch(4, users=self.full))

    def saturated(self, sampler: Sampler, batch: Batch) -> None:
        user = int(batch.user[0])
        try:
            found = self.draw(sampler, batch)
        except ValueError as error:
            if isinstance(error, CheckFailed) or str(user) not in str(error):
                raise
            return
        if found.item.shape[1] and (found.keep is None or bool(found.keep.any())):
            raise CheckFailed("exclusion", f"user {user} has seen every item, and still got negatives with keep=True")


@contextmanager
def _global_streams(seed: int):
    """Seeds the global generators, yields a list of those that moved meanwhile, and puts them back."""
    kept = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 (watched, not used)
    moved: list[str] = []
    try:
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
        yield moved
        after = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
        same = {
            "torch": torch.equal(before[0], after[0]),
            "numpy": before[1][2] == after[1][2] and bool((before[1][1] == after[1][1]).all()),
            "random": before[2] == after[2],
        }
        moved += [name for name, unmoved in same.items() if not unmoved]
    finally:
        torch.set_rng_state(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        random.setstate(kept[2])
