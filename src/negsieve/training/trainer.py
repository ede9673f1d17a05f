"""The loop: epochs of steps, validation, early stopping, checkpoints.

A checkpoint holds weights, optimiser, sampler memory, the meter's sums and where training stands.
Randomness is never stored, because every draw is a function of the seed and of where training
stands; so resuming from any checkpoint gives the bits of a run that was never stopped.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from time import monotonic

import torch
from torch import nn

from negsieve import spec
from negsieve.config import TrainConfig
from negsieve.data.batches import batches, n_batches
from negsieve.data.dataset import Dataset
from negsieve.errors import Interrupted
from negsieve.evaluation.evaluator import Evaluator
from negsieve.lab.meter import Meter
from negsieve.losses import Loss
from negsieve.models.base import Model
from negsieve.rng import streams
from negsieve.samplers.base import Sampler
from negsieve.schedule import Schedule, each_schedule
from negsieve.store.checkpoint import Checkpoint
from negsieve.store.run import Run
from negsieve.training import memory
from negsieve.training.engine import TorchEngine
from negsieve.training.engines import make_engine
from negsieve.training.signals import Stop
from negsieve.training.watch import Silent, Stopwatch, Watcher


@dataclass
class Standing:
    """Where training stands: the next step to do, and the best validation so far."""

    epoch: int = 0
    step: int = 0
    steps_done: int = 0
    best: float | None = None
    best_epoch: int | None = None
    waited: int = 0
    stopped: str | None = None


class Trainer:
    """Fits a model on the train part of a data set and keeps the run directory up to date.

    ``sampler_name`` is only for messages; ``oracle``, the held-out parts that the sampler knows, stamps each epoch;
    ``engine`` is the name of what does the steps, chosen by ``engines.choose``.
    Everything random comes from ``config.seed``.
    """

    def __init__(
        self,
        model: Model,
        sampler: Sampler,
        *,
        loss: Loss,
        dataset: Dataset,
        evaluator: Evaluator,
        run: Run,
        config: TrainConfig,
        device: torch.device,
        sampler_name: str = "uniform",
        oracle: Sequence[str] = (),
        engine: str = TorchEngine.name,
        watch: Watcher | None = None,
    ) -> None:
        self.config, self.run, self.evaluator, self.device = config, run, evaluator, device
        self.model, self.sampler, self.loss = model.to(device), sampler.to(device), loss
        self.watch, self.sampler_name = watch or Silent(), sampler_name
        self.stamp = {"oracle": list(oracle)} if oracle else {}
        self.user, self.item = (side.to(device) for side in dataset.pairs("train"))
        self.meter = Meter(dataset.train, dataset.seen("valid", "test")).to(device)
        self.lr = Schedule(config.lr)
        # everything with a gradient or a memory beside the model; a loss may be a plain function
        learns = {"loss": loss} if isinstance(loss, nn.Module) else {}
        self.beside = nn.ModuleDict({"lr": self.lr, **learns}).to(device)
        self.engine = make_engine(
            engine,
            self.model,
            self.sampler,
            loss,
            user=self.user,
            item=self.item,
            meter=self.meter,
            config=config,
            beside=self.beside,
            sampler_name=sampler_name,
        )
        self.standing = Standing()
        self.validates = len(dataset.rows(config.select_on)) > 0
        self.groups = model.groups()
        self.steps = n_batches(len(self.user), config.batch_size, config.drop_last, groups=self.groups)
        self._clock = Stopwatch()
        self._saved_at = monotonic()

    def memory(self) -> str:
        """What this process will hold at most, in words; on a GPU the tables lie there."""
        told = memory.expected(
            self.model,
            self.sampler,
            self.config,
            chunk=self.evaluator.chunk,
            by_autograd=self.engine.name == TorchEngine.name,
            remembered=sum(one.nbytes for one in self.engine.pack()[0].values()),
        )
        return memory.words(told)

    def fit(self) -> Standing:
        """Trains to the end, or to the first reason to stop. Raises Interrupted after saving on a signal."""
        takes = self.memory()
        self.run.log(f"memory {takes}")
        at = {"epochs": self.config.epochs, "steps": self.steps, "epoch": self.standing.epoch}
        self.watch.begin(self.run.path.name, **at, memory=takes)
        with Stop() as stop:
            while self.standing.stopped is None and self.standing.epoch < self.config.epochs:
                self._run_epoch(stop)
        if self.standing.stopped is None:
            self.standing.stopped = "all epochs done"
        return self.standing

    def release(self) -> None:
        """Lets go of what further steps alone would need: the optimiser's memory and the train pairs."""
        del self.engine, self.user, self.item

    def _run_epoch(self, stop: Stop) -> None:
        standing, config = self.standing, self.config
        epoch = standing.epoch
        self._clock = Stopwatch()
        if standing.step == 0:
            self.meter.reset()
            rng = streams("refresh", epoch, seed=config.seed, device=self.device)
            self.sampler.begin(epoch, self.model.frozen(), rng)
            each_schedule(self.beside, lambda one: one.move(epoch))
            self._clock.lap("refresh")
        self.engine.set_rate(float(self.lr))
        order = batches(
            len(self.user),
            size=config.batch_size,
            seed=config.seed,
            epoch=epoch,
            start=standing.step,
            drop_last=config.drop_last,
            groups=self.groups,
        )
        for first, rows in self._together(order):
            self.engine.advance(epoch, first, rows, self._clock)
            standing.step, standing.steps_done = first + len(rows), standing.steps_done + len(rows)
            self.watch.step(epoch, standing.step - 1)
            self._heed(stop)
            if config.checkpoint_every and standing.steps_done % config.checkpoint_every == 0:
                self.save()
        self.engine.settle()
        self._close_epoch()
        self._heed(stop)

    def _together(self, order: Iterable[tuple[int, torch.Tensor]]) -> Iterator[tuple[int, list[torch.Tensor]]]:
        """(first step, rows of each) in blocks as long as the engine likes; a block ends where a save is due."""
        every, start = self.config.checkpoint_every, self.standing.steps_done - self.standing.step
        block: list[torch.Tensor] = []
        for step, rows in order:
            block.append(rows)
            if len(block) == self.engine.block or (every and (start + step + 1) % every == 0):
                yield step + 1 - len(block), block
                block = []
        if block:
            yield step + 1 - len(block), block

    def _heed(self, stop: Stop) -> None:
        """After a signal: saves and raises Interrupted, which says how to go on."""
        if not stop.caught:
            return
        self.save()
        where = f"after step {self.standing.step} of {self.steps} in epoch {self.standing.epoch}"
        self.run.log(f"stopped by signal {stop.caught} {where}")
        outside = f" --sampler {shlex.quote(self.sampler_name)}" if spec.parse(self.sampler_name).outside else ""
        raise Interrupted(
            f"stopped {where}; everything is saved. "
            f"Go on with: negsieve train --resume {shlex.quote(str(self.run.path))}{outside}",
            signal_number=stop.caught,
        )

    def _close_epoch(self) -> None:
        """Logs the epoch, validates, decides whether to stop, saves."""
        standing, config = self.standing, self.config
        record = {"epoch": standing.epoch, "step": standing.steps_done, "steps": self.steps, **self.stamp}
        record |= self.meter.summary()
        if self.validates and self._due(standing.epoch):
            found = self.evaluator.evaluate(self.model.frozen(), config.select_on).metrics
            value = found[self.evaluator.name_of(config.metric)]
            record[config.select_on] = found
            for part in (self.sampler, self.beside):
                each_schedule(part, lambda one: one.validated(value))
            self._judge(value)
            self._clock.lap("validate")
        record["seconds"] = self._clock.take()
        self.run.append_metrics(record)
        standing.epoch, standing.step = standing.epoch + 1, 0
        over = standing.stopped is not None or standing.epoch == config.epochs
        if over or monotonic() - self._saved_at >= config.checkpoint_seconds:
            self.save()
        self.watch.epoch(record)

    def _due(self, epoch: int) -> bool:
        """Whether the epoch is validated: every so many from the first one on, and the last of all."""
        since = epoch - self.config.validate_from
        return (since >= 0 and since % self.config.validate_every == 0) or epoch + 1 == self.config.epochs

    def _judge(self, value: float) -> None:
        standing = self.standing
        if standing.best is None or value > standing.best:
            standing.best, standing.best_epoch, standing.waited = value, standing.epoch, 0
            self._save_best()
            return
        standing.waited += 1
        if self.config.patience and standing.waited >= self.config.patience:
            chooser = self.evaluator.name_of(self.config.metric)
            standing.stopped = f"{chooser} on {self.config.select_on} did not rise in {standing.waited} validations"

    def _save_best(self) -> None:
        self.run.save_best(self.standing.steps_done, {"model": self.model.state_dict()}, asdict(self.standing))

    def save(self) -> None:
        """Writes a checkpoint of everything that training needs to go on."""
        tensors, state = self.engine.pack()
        groups = {
            "model": self.model.state_dict(),
            "memory": self.sampler.state_dict(),
            "beside": self.beside.state_dict(),
            "meter": self.meter.state_dict(),
            "optimiser": tensors,
        }
        self.run.save(self.standing.steps_done, groups, {"standing": asdict(self.standing), "optimiser": state})
        self._saved_at = monotonic()

    def restore(self, found: Checkpoint) -> None:
        """Puts a checkpoint back; metrics written after it are dropped, because they will be written again."""
        self.model.load_state_dict(found.groups["model"])
        self.sampler.load_state_dict(found.groups["memory"])
        self.beside.load_state_dict(found.groups["beside"])
        self.meter.load_state_dict(found.groups["meter"])
        self.engine.unpack(found.groups["optimiser"], found.state["optimiser"])
        self.standing = Standing(**found.state["standing"])
        self.run.rewind(last_epoch=self.standing.epoch - 1, step=self.standing.steps_done)

    def restore_best(self) -> int:
        """Puts the best epoch's weights back and returns that epoch; without validation, the last one's."""
        if self.standing.best_epoch is None:
            self._save_best()
            return self.standing.epoch - 1
        self.model.load_state_dict(self.run.load_best().groups["model"])
        return self.standing.best_epoch
