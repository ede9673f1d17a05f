"""LightGCN without autograd: the gradient of the scores goes back through the very products that made them.

The numbers are those of ``TorchEngine`` up to rounding. What is saved: products with the transpose, the last
layer and the first one of the way back beyond the rows in use, gradients and layers in memory. With
``precision="bf16"`` the layers between are bfloat16; parameters, scores, sums and the optimiser are not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from negsieve.config import TrainConfig
from negsieve.errors import CapabilityError
from negsieve.kernels.descend import Seeds, descend, gradient, scatter
from negsieve.kernels.graph import padded
from negsieve.kernels.norms import squared_norms
from negsieve.kernels.shuffle import picked
from negsieve.lab.meter import Meter
from negsieve.losses import Loss
from negsieve.models.base import Model, penalty_shares
from negsieve.models.lightgcn import LightGCN
from negsieve.rng import streams
from negsieve.samplers.base import Learner, Sampler
from negsieve.scorers import Dot, Scorer
from negsieve.store.checkpoint import pack_optimiser, unpack_optimiser
from negsieve.training.engine import Engine
from negsieve.training.optimise import make_optimiser
from negsieve.training.pooled import Pooled, Slots
from negsieve.training.price import asked, price
from negsieve.training.step import Outcome, refuse_non_finite, score_both
from negsieve.training.waking import Waking
from negsieve.training.watch import Stopwatch
from negsieve.types import Batch, Negatives


def why_not(model: Model, sampler: Sampler, loss: Loss, config: TrainConfig) -> str | None:
    """Why this engine cannot do such a run, and what it could; None where it can."""
    if type(model) is not LightGCN or model.cosine:
        return "the compiled steps of lightgcn score by dot product: lightgcn:similarity=dot"
    if model.user.dtype != torch.float32:
        return "the compiled steps of lightgcn train parameters in single precision"
    if config.optimiser in ("online_sgd", "sparse_adam", "rowwise_adagrad"):
        return f"{config.optimiser} moves touched rows alone, and every row of a graph model is touched: adam does"
    if "scorer" in asked(loss):
        return "the loss reads vectors or the whole catalogue, which takes autograd"
    if isinstance(loss, nn.Module) and next(loss.parameters(), None) is not None:
        return "the loss has parameters, which are trained by autograd"
    return None


class CompiledLightGCN(Engine):
    """Steps of LightGCN by kernels. Takes what ``TorchEngine`` takes, where ``why_not`` is None.

    The optimiser's memory is torch's own. Cost of a step with H layers: ``2 (H - 1)`` products, the share of two
    more that the rows in use have, and one pass over parameters and moments.
    """

    name = "compiled lightgcn"

    def __init__(
        self,
        model: LightGCN,
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
        self.start = (model.user, model.item)
        self.optimiser = make_optimiser((*self.start, *beside.parameters()), config)
        dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        self.pooled = Pooled(model, dtype=dtype)
        self.used = Slots(len(self.pooled.graph), user.device)
        self._room = torch.empty(0, padded(model.dim), dtype=dtype)
        # stages that read single layers get the model's own, whole; all others what they ask for
        self.layered = any("layers" in one.needs for one in sampler.modules() if isinstance(one, Learner))

    def set_rate(self, lr):
        for group in self.optimiser.param_groups:
            group["lr"] = lr

    def advance(self, epoch, first, rows, clock):
        for step, taken in enumerate(rows, first):
            self._step(epoch, step, taken, clock)

    def settle(self):
        pass  # a step leaves nothing for later

    def pack(self):
        return pack_optimiser(self.optimiser)

    def unpack(self, tensors, state):
        unpack_optimiser(self.optimiser, tensors, state)

    def _step(self, epoch: int, step: int, rows: Tensor, clock: Stopwatch) -> None:
        seed = self.config.seed
        batch = Batch(*picked(rows, self.user, self.item), rows)
        self.pooled.advance()
        plain = self._plain(batch)
        scorer = self.model.frozen()(batch) if self.layered else Waking(plain, self.pooled.ensure_items)
        clock.lap("encode")
        negatives = self.sampler.sample(batch, scorer, streams("negatives", epoch, step, seed=seed))
        self._refuse_synthetic(negatives, epoch, step)
        clock.lap("sample")
        seeds, outcome, slopes = self._priced(batch, negatives, scorer=scorer, plain=plain)
        total = outcome.total(l2=self.config.l2)
        refuse_non_finite(total, outcome, self.model, epoch=epoch, step=step, sampler=self.sampler_name)
        clock.lap("score")
        self.meter.observe(
            batch,
            negatives,
            scorer,
            loss=outcome.loss,
            penalty=outcome.penalty,
            gradient=slopes[0] * len(batch),
            step=step,
            rng=streams("meter", epoch, step, seed=seed),
        )
        evidence = self.sampler.observe(
            batch, negatives, scorer, outcome.loss, streams("observe", epoch, step, seed=seed)
        )
        clock.lap("measure")
        self._descend(seeds)
        if evidence is not None:
            self.sampler.learn([evidence])
        clock.lap("optimise")

    def _plain(self, batch: Batch) -> Dot:
        """Scores by the pooled rows, whose items are right once they were made."""
        self.pooled.ensure(batch.user)
        table = self.pooled.table
        return Dot(table.index_select(0, batch.user), table[self.model.n_users :], temperature=self.model.temperature)

    def _refuse_synthetic(self, negatives: Negatives, epoch: int, step: int) -> None:
        if negatives.vector is not None:
            raise CapabilityError(
                f"sampler {self.sampler_name} made vectors that are no items at epoch {epoch}, step {step}: "
                "train it with train.engine=torch"
            )

    def _priced(
        self, batch: Batch, negatives: Negatives, *, scorer: Scorer, plain: Dot
    ) -> tuple[Seeds, Outcome, tuple[Tensor, Tensor]]:
        """Loss and penalty of every row, the slopes of the mean loss by the scores, and where they go back from."""
        n_users, item = self.model.n_users, negatives.item.expand(len(batch), -1)
        nodes = batch.user, batch.item + n_users, item + n_users
        self.used.clear()
        self.pooled.ensure(self.used.add(torch.cat([one.reshape(-1) for one in nodes])).long())
        positive, negative = (one.requires_grad_() for one in score_both(plain, batch, negatives))
        loss = price(self.loss, positive, negative, negatives, batch=batch, scorer=scorer)
        slopes = torch.autograd.grad(loss.mean(), (positive, negative), allow_unused=True, materialize_grads=True)
        penalty, decay = self._penalties(nodes, negatives)
        outcome = Outcome(
            scorer, negatives, positive.detach(), negative.detach(), loss.detach(), penalty, auxiliary=None
        )
        seeds = Seeds(self.used.rows, self.used.slot, self._row_slopes(nodes, slopes), decay, self._scratch())
        return seeds, outcome, slopes

    def _row_slopes(self, nodes: tuple[Tensor, ...], slopes: tuple[Tensor, ...]) -> Tensor:
        """The slope of the mean loss by each pooled row in use, ``Float[n, D]``."""
        found = self.pooled.table.new_empty(self.used.count, self.model.dim)
        positive, negative = (one / self.model.temperature for one in slopes)
        scatter(
            self.pooled.table,
            *nodes,
            d_positive=positive,
            d_negative=negative.expand(len(positive), -1),
            slot=self.used.slot,
            gradient=found,
        )
        return found

    def _penalties(self, nodes: tuple[Tensor, ...], negatives: Negatives) -> tuple[Tensor, Tensor]:
        """``row_penalty`` of the batch, ``Float[B]``, and by which factor it pulls each row in use, ``Float[n]``."""
        norm, n = self._norms(), len(nodes[0])
        user, item, negative = (self.used.slot[one].long() for one in nodes)
        share = penalty_shares(negatives, norm.dtype)
        share = torch.ones(negative.shape) if share is None else share.detach().expand(n, -1)
        share = share / share.sum(1, keepdim=True).clamp_min(1e-12)  # [B, K]
        penalty = (norm[user] + norm[item] + (norm[negative] * share).sum(1)) / 2
        counted = torch.cat([torch.ones(2 * n, dtype=torch.double), share.flatten().double()])
        place = torch.cat([user, item, negative.flatten()])
        times = torch.bincount(place, counted, minlength=self.used.count)
        return penalty, (times * (self.config.l2 / max(1, n))).float()

    def _norms(self) -> Tensor:
        """The squared norm of layer 0 of the rows in use, ``Float[n]``."""
        rows = self.used.rows.long()
        users = int(torch.searchsorted(rows, self.model.n_users))
        places = rows[:users], rows[users:] - self.model.n_users
        return torch.cat([squared_norms(side.detach(), place) for side, place in zip(self.start, places, strict=True)])

    def _scratch(self) -> Tensor:
        """Room for the rows in use as states."""
        if len(self._room) < self.used.count:
            many = min(len(self.used.slot), 2 * self.used.count)
            self._room = torch.empty(many, padded(self.model.dim), dtype=self.pooled.states.dtype)
        return self._room

    def _descend(self, seeds: Seeds) -> None:
        """The way back from the pooled rows, and one step of the optimiser."""
        graph, states = self.pooled.graph, self.pooled.states
        if type(self.optimiser) is not torch.optim.Adam:
            for one in self.start:
                one.grad = torch.empty_like(one) if one.grad is None else one.grad
            gradient(graph, states, seeds, self.start, tuple(one.grad for one in self.start))
            self.optimiser.step()
            self.pooled.moved(begun=False)
            return
        group, memory = self.optimiser.param_groups[0], [self._memory(one) for one in self.start]
        for one in memory:
            one["step"] += 1
        descend(
            graph,
            states,
            seeds,
            self.start,
            mean=tuple(one["exp_avg"] for one in memory),
            square=tuple(one["exp_avg_sq"] for one in memory),
            lr=group["lr"],
            betas=group["betas"],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            step=int(memory[0]["step"]),
        )
        self.pooled.moved(begun=True)

    def _memory(self, parameter: Tensor) -> dict[str, Tensor]:
        """What torch's Adam remembers of a parameter, made as it makes it."""
        found = self.optimiser.state[parameter]
        if not found:
            found["step"] = torch.zeros((), dtype=torch.float32)
            found["exp_avg"], found["exp_avg_sq"] = (torch.zeros_like(parameter).detach() for _ in range(2))
        return found
