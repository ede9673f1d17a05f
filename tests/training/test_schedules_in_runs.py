"""Schedules in a run: the optimiser's rate in each epoch, over a resume, and by validation."""

from __future__ import annotations

import pytest

from negsieve.config import resolve
from negsieve.store.run import Run
from negsieve.training import build
from negsieve.training.trainer import Trainer
from negsieve.training.watch import Silent

TRAIN = {"epochs": 5, "batch_size": 64, "patience": 0, "device": "cpu", "checkpoint_seconds": 0}


class Stopped(BaseException):
    """Ends a run between two epochs."""


class Rates(Silent):
    """Notes the learning rate and the loss's factor at the first step of every epoch, and may stop."""

    def __init__(self, until: int = 99) -> None:
        self.lr, self.factor, self.share, self.trainer, self.until = [], [], [], None, until

    def step(self, epoch, step):
        if step == 0:
            self.lr.append(round(self.trainer.engine.optimiser.param_groups[0]["lr"], 9))
            self.factor.append(round(float(next(iter(self.trainer.loss.schedules.values()), 0.0)), 9))
            self.share.append([round(float(one), 9) for one in self.trainer.sampler.schedules()])

    def epoch(self, record):
        if record["epoch"] + 1 == self.until:
            raise Stopped


def trainer(small, path, watch: Rates, *, sampler: str = "uniform", loss: str = "bpr", **train) -> Trainer:
    config = resolve({"model": "mf:dim=4", "sampler": sampler, "loss": loss, "train": TRAIN | train})
    made = build.make_sampler(sampler, small, dim=4)
    one = Trainer(
        build.make_model(config, small),
        made,
        loss=build.make_loss(loss, small),
        dataset=small,
        evaluator=build.make_evaluator(config, small),
        run=Run.create(path, config=config.plain(), env={}),
        config=config.train,
        device=build.pick_device("cpu"),
        watch=watch,
    )
    made.schedules = lambda: [part.alpha for part in made.modules() if hasattr(part, "alpha")]
    watch.trainer = one
    return one


@pytest.mark.parametrize(
    ("lr", "wanted"),
    [
        ("step:0.04:0.5:2", [0.04, 0.04, 0.02, 0.02, 0.01]),
        ("linear:0.05:0.01:4", [0.05, 0.04, 0.03, 0.02, 0.01]),
        (0.03, [0.03] * 5),
    ],
)
def test_the_optimiser_has_the_rate_of_the_epoch_also_after_a_resume(small, tmp_path, lr, wanted):
    watch = Rates()
    trainer(small, tmp_path / "whole", watch, lr=lr).fit()
    assert watch.lr == wanted
    before, after = Rates(until=3), Rates()
    with pytest.raises(Stopped):
        trainer(small, tmp_path / "cut", before, lr=lr).fit()
    resumed = trainer(small, tmp_path / "cut", after, lr=lr)
    resumed.restore(Run(tmp_path / "cut").load_latest())
    resumed.fit()
    assert before.lr + after.lr == wanted


def test_a_sampler_and_a_loss_move_with_the_epoch(small, tmp_path):
    watch = Rates()
    trainer(small, tmp_path / "run", watch, sampler="pdns:beta=0.5", loss="soft_bpr:beta=linear:1:0.2:4").fit()
    assert watch.factor == [1.0, 0.8, 0.6, 0.4, 0.2]
    assert watch.share == [[0.5]] * 5


class Falling:
    """An evaluator for which nothing ever gets better after the first look."""

    chunk = 256

    def __init__(self) -> None:
        self.calls = 0

    def name_of(self, metric):
        return metric

    def evaluate(self, encoder, part):
        self.calls += 1
        return type("Found", (), {"metrics": {"ndcg@20": 1.0 / self.calls}})()


def test_a_plateau_is_lowered_by_validation_in_the_optimiser_and_the_loss(small, tmp_path):
    watch = Rates()
    one = trainer(
        small, tmp_path / "run", watch, lr="plateau:0.08:0.5:2", loss="soft_bpr:beta=plateau:1:0.1:2", epochs=6
    )
    one.evaluator = Falling()
    one.fit()
    assert watch.lr == [0.08, 0.08, 0.08, 0.04, 0.04, 0.02]
    assert watch.factor == [1.0, 1.0, 1.0, 0.1, 0.1, 0.01]
    resumed = trainer(
        small, tmp_path / "run", Rates(), lr="plateau:0.08:0.5:2", loss="soft_bpr:beta=plateau:1:0.1:2", epochs=6
    )
    resumed.restore(Run(tmp_path / "run").load_latest())
    assert float(resumed.lr) == pytest.approx(0.02)
    assert int(resumed.lr.waited) == int(one.lr.waited) and float(resumed.lr.best) == 1.0
