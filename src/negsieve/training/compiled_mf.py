"""Matrix factorisation without autograd: gradients in closed form, and updates of the touched rows alone.

What dense Adam would do to the rows that a step does not touch is done when they are next read, so the numbers
are those of ``TorchEngine`` up to rounding, at the cost of the rows in use. Samplers that only draw, or choose
by score among draws, run many steps in one call; any other draws a step at a time, as it does beside autograd.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from negsieve.config import TrainConfig
from negsieve.errors import CapabilityError
from negsieve.kernels.mf import Report, mf_steps
from negsieve.kernels.rows import RowMemory, Rule, catch_up, settle
from negsieve.kernels.shuffle import picked
from negsieve.lab.meter import Meter
from negsieve.losses import Loss
from negsieve.models.base import Model
from negsieve.models.mf import MF
from negsieve.rng import streams
from negsieve.samplers.base import Composition, Learner, Sampler
from negsieve.scorers import Scorer
from negsieve.training.drawing import Draws, draws_of
from negsieve.training.engine import Engine
from negsieve.training.pairing import pair_loss, why_unpaired
from negsieve.training.price import price
from negsieve.training.step import Outcome, refuse_non_finite
from negsieve.training.waking import Waking
from negsieve.training.watch import Stopwatch
from negsieve.types import Batch, Negatives

_BLOCK_SECONDS, _ROWS_A_SECOND = 0.05, 25_000_000
OPTIMISERS = ("sgd", "online_sgd", "adam", "adagrad", "sparse_adam", "rowwise_adagrad")


def why_not(model: Model, sampler: Sampler, loss: Loss, config: TrainConfig) -> str | None:
    """Why this engine cannot do such a run, and what it could; None where it can. Samplers are judged elsewhere."""
    if type(model) is not MF or model.cosine or model.temperature != 1.0:
        return "the compiled steps of mf score by the plain dot product: mf:similarity=dot,temperature=1"
    if model.user.dtype != torch.float32 or config.precision != "fp32":
        return "the compiled steps of mf are in single precision: train.precision=fp32"
    if config.optimiser not in OPTIMISERS:
        return f"the compiled steps have no {config.optimiser}, but {', '.join(OPTIMISERS)}"
    if config.weight_decay or config.momentum:
        return "the compiled steps move touched rows alone: train.weight_decay=0 and train.momentum=0"
    return why_unpaired(loss)


class CompiledMF(Engine):
    """Steps of MF by kernels. Takes what ``TorchEngine`` takes, where ``why_not`` is None.

    The hardness that the meter reports is that of every step that it rates, with the rows as they are before the
    step, in blocks as in single steps. Memory: the optimiser's, 4 bytes a row, and the rows of a batch.
    """

    name = "compiled mf"

    def __init__(
        self,
        model: MF,
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
        self.users, self.items, self.lr = model.user.data, model.item.data, 0.0
        self.online = config.optimiser == "online_sgd"
        rule = config.optimiser.removeprefix("online_")
        self.memory = RowMemory(self.users, self.items, rule=Rule(rule, betas=config.betas))
        self.draws = draws_of(sampler)
        self.block = _block(config, self.draws, model.dim, meter.every)
        self.remembers = any(_observes(one) for one in sampler.modules())

    def set_rate(self, lr):
        self.lr = lr

    def settle(self):
        settle(self.users, self.items, memory=self.memory)

    @torch.no_grad()
    def advance(self, epoch, first, rows, clock):
        if self.draws is None:
            for step, taken in enumerate(rows, first):
                self._step(epoch, step, taken, clock)
            return
        for step, several in _alike(first, rows, self.meter.every):
            self._steps(epoch, step, several, clock)

    def _step(self, epoch: int, step: int, rows: Tensor, clock: Stopwatch) -> None:
        """One step, with any sampler."""
        batch = self._batch(rows)
        scorer = self._scorer(batch)
        negatives = self.sampler.sample(batch, scorer, self._rng("negatives", epoch, step))
        if negatives.vector is not None:
            raise CapabilityError(
                f"sampler {self.sampler_name} made vectors that are no items at epoch {epoch}, step {step}: "
                "train it with train.engine=torch"
            )
        clock.lap("sample")
        if step % self.meter.every == 0:
            self.meter.rate(batch, negatives, scorer, self._rng("meter", epoch, step))
        evidence = self._evidence(batch, negatives, scorer, self._rng("observe", epoch, step))
        clock.lap("measure")
        item = negatives.item.expand(len(batch), -1)
        given = {"weight": negatives.weight, "keep": negatives.keep}
        told, done = self._done(batch, item, len(batch), m=None, **given)
        if done < len(batch):
            self._refuse(epoch, step, batch, Negatives(item, **given), done, len(batch))
        clock.lap("step")
        self.meter.count(batch, negatives, loss=told.loss, penalty=told.penalty, gradient=told.slope)
        if evidence is not None:
            self.sampler.learn([evidence])
        clock.lap("measure")

    def _steps(self, epoch: int, first: int, rows: Sequence[Tensor], clock: Stopwatch) -> None:
        """Steps of equally many rows in one call, on draws that were made ahead."""
        if first % self.meter.every == 0:
            self._rate(epoch, first, rows[0])
            clock.lap("measure")
        batch, size = self._batch(torch.cat(list(rows))), len(rows[0])
        rngs = (self._rng("negatives", epoch, step) for step in range(first, first + len(rows)))
        candidate = self.draws.candidates(batch, rngs)
        keep, weight = self.draws.keep(batch), self.draws.weight(batch)
        clock.lap("sample")
        told, done = self._done(batch, candidate, size, m=self.draws.m, weight=weight, keep=keep)
        clock.lap("step")
        negatives = Negatives(told.negative, keep=keep, weight=weight)
        if done < len(batch):
            self._refuse(epoch, first + done // size, batch, negatives, done, size)
        self.meter.count(batch, negatives, loss=told.loss, penalty=told.penalty, gradient=told.slope, steps=len(rows))
        clock.lap("measure")

    def _rate(self, epoch: int, step: int, rows: Tensor) -> None:
        """Measures the hardness of a step to come, on the rows that the meter reads of it: draws are by row."""
        batch = self._batch(rows[self.meter.rated_rows(len(rows), self.draws.many).cpu()])
        scorer = self._scorer(batch)
        negatives = self.sampler.sample(batch, scorer, self._rng("negatives", epoch, step))
        whole = torch.arange(len(batch), device=self.user.device)
        self.meter.rate(batch, negatives, scorer, self._rng("meter", epoch, step), rows=whole)

    def _batch(self, rows: Tensor) -> Batch:
        rows = rows.to(self.user.device)
        return Batch(*picked(rows, self.user, self.item), rows)

    def _rng(self, name: str, epoch: int, step: int) -> torch.Generator:
        return streams(name, epoch, step, seed=self.config.seed, device=self.user.device)

    def _scorer(self, batch: Batch) -> Scorer:
        """The model's scores of a batch, of rows as they stand now."""
        if self.memory.rule.kind != "adam":
            return self.model.frozen()(batch)
        catch_up(self.users, batch.user, memory=self.memory, side="user")
        wake = partial(catch_up, self.items, memory=self.memory, side="item")
        return Waking(self.model.frozen()(batch), wake)

    def _done(self, batch: Batch, candidate: Tensor, size: int, *, m: int | None, weight, keep) -> tuple[Report, int]:
        """Steps of ``size`` rows each, or online of one; the Report, and how many rows were done."""
        told, done = mf_steps(
            self.users,
            self.items,
            user=batch.user,
            item=batch.item,
            candidate=candidate,
            m=m,
            bound=None if self.online else torch.arange(0, len(batch) + 1, size),
            memory=self.memory,
            loss=pair_loss(self.loss),
            lr=self.lr,
            l2=self.config.l2,
            weight=weight,
            keep=keep,
        )
        return told, done if self.online else done * size

    def _evidence(self, batch: Batch, negatives: Negatives, scorer: Scorer, rng: torch.Generator):
        """What the sampler learns from the step, if it has a memory at all."""
        if not self.remembers:
            return None
        positive, negative = scorer.score(batch.item[:, None])[:, 0], scorer.score(negatives.item)
        loss = price(self.loss, positive, negative, negatives, batch=batch, scorer=scorer)
        return self.sampler.observe(batch, negatives, scorer, loss, rng)

    def _refuse(self, epoch: int, step: int, batch: Batch, negatives: Negatives, done: int, size: int) -> None:
        """Raises NonFiniteLoss for the step that the kernel refused after ``done`` rows, worded by ``TorchEngine``."""
        bad = slice(done, done + (1 if self.online else size))
        batch = Batch(batch.user[bad], batch.item[bad], batch.row[bad])
        sides = {name: getattr(negatives, name) for name in ("item", "weight", "keep")}
        negatives = Negatives(**{name: one if one is None else one[bad] for name, one in sides.items()})
        scorer = self._scorer(batch)
        positive, negative = scorer.score(batch.item[:, None])[:, 0], scorer.score(negatives.item)
        loss = price(self.loss, positive, negative, negatives, batch=batch, scorer=scorer)
        penalty = self.model.penalty(batch, negatives)
        outcome = Outcome(scorer, negatives, positive, negative, loss, penalty, None)
        total = outcome.total(l2=self.config.l2)
        # sums in another order may stay just below the largest number
        total = torch.where(torch.isfinite(total), torch.inf, total)
        refuse_non_finite(total, outcome, self.model, epoch=epoch, step=step, sampler=self.sampler_name)

    def pack(self):
        return self.memory.tensors(), self.memory.numbers()

    def unpack(self, tensors, state):
        self.memory.load(tensors, state)


def _observes(one: nn.Module) -> bool:
    return isinstance(one, Learner) and type(one).observe not in (Learner.observe, Composition.observe)


def _block(config: TrainConfig, draws: Draws | None, dim: int, every: int) -> int:
    """Steps that take about ``_BLOCK_SECONDS`` on a slow core, so that a signal is heeded soon."""
    if draws is None:
        return 1
    rows = config.batch_size * (2 + draws.many + draws.source.n_negatives) * max(dim, 16) / 64
    steps = int(_BLOCK_SECONDS * _ROWS_A_SECOND / rows)
    return max(1, steps if steps < every else steps // every * every)


def _alike(first: int, rows: Sequence[Tensor], every: int) -> Iterator[tuple[int, list[Tensor]]]:
    """Steps in runs that are of equally many rows, and of which only the first is rated by the meter."""
    run: list[Tensor] = []
    for step, taken in enumerate(rows, first):
        if run and (step % every == 0 or len(taken) != len(run[0])):
            yield step - len(run), run
            run = []
        run.append(taken)
    if run:
        yield first + len(rows) - len(run), run
