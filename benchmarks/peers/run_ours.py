"""negsieve, from the working tree: its trainer, its evaluator and its bare kernels, taking turns like a peer."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does, before torch is imported

import numpy as np
import torch
from turns import Turns, read

from negsieve.config import RunConfig, TrainConfig, resolve
from negsieve.data.dataset import Dataset
from negsieve.data.interactions import Interactions
from negsieve.data.vocabulary import Vocabulary
from negsieve.evaluation.evaluator import Evaluator
from negsieve.evaluation.rank import top_k
from negsieve.kernels import native
from negsieve.kernels.draw import draw_even
from negsieve.loading import load_data
from negsieve.scorers import Towers
from negsieve.training import session
from negsieve.training.trainer import Trainer
from negsieve.training.watch import Silent


def dataset_of(spec: dict) -> Dataset:
    """The shared arrays as a data set with its given split; or ``source``, read as a user's file is."""
    if "source" in spec:
        return load_data(spec["source"])
    data = read(spec["arrays"])
    user, item = (np.concatenate([data["train"][:, at], data["test"][:, at]]) for at in (0, 1))
    part = np.repeat(np.array([0, 2], dtype=np.int8), [len(data["train"]), len(data["test"])])
    names = [Vocabulary([str(i) for i in range(int(size))]) for size in data["sizes"]]
    return Dataset("bench", Interactions(user=user, item=item, users=names[0], items=names[1]), part)


class Pace(Silent):
    """A watcher that takes turns: at the ends of blocks of steps, or of epochs where ``batches`` is None."""

    def __init__(self, turns: Turns, batches: int | None) -> None:
        self.turns, self.batches, self.reported = turns, batches, 0
        self.trainer: Trainer | None = None

    def step(self, epoch, step):
        done = self.trainer.standing.steps_done - self.reported
        if self.batches and done >= self.batches:
            self.reported += done
            self._finished(done / self.trainer.steps, pairs=done * self.trainer.config.batch_size)

    def epoch(self, record):
        if not self.batches:
            self._finished(1.0, loss=record["loss"])

    def _finished(self, share: float, **facts) -> None:
        self.turns.finished(share=share, factors=self.factors, engine=self.trainer.engine.name, **facts)

    def factors(self):
        self.trainer.engine.settle()
        towers = self.trainer.model.frozen()
        return [side.float().numpy() for side in (towers.user, towers.item)]


def config_of(spec: dict) -> RunConfig:
    """The run's configuration: no validation, no stop, no save while the clock runs."""
    train: dict[str, Any] = {
        "epochs": 10**6,
        "batch_size": spec.get("batch", 2048),
        "lr": spec.get("lr", 1e-3),
        "l2": spec.get("l2", 0.0),
        "seed": spec.get("seed", 0),
        "patience": 0,
        "checkpoint_seconds": 1e9,
        "threads": spec["threads"],
    }
    train |= {key: value for key, value in spec.get("train", {}).items() if key in TrainConfig.model_fields}
    top = {"model": spec["model"], "sampler": spec["sampler"], "loss": spec.get("loss", "auto"), "train": train}
    return resolve(top)


def train(turns: Turns) -> None:
    """A run as ``negsieve train`` starts it, in a folder of its own, which never ends by itself."""
    pace = Pace(turns, turns.spec.get("batches"))

    class Followed(Trainer):
        """The trainer that the pace asks where training stands: a watcher alone does not see it."""

        def fit(self):
            pace.trainer = self
            turns.ready(kernels=native.name(), load_cpu=loaded, pairs=len(dataset.train))
            return super().fit()

    session.Trainer = Followed
    begun = time.process_time()
    dataset = dataset_of(turns.spec)
    loaded = time.process_time() - begun
    with tempfile.TemporaryDirectory() as folder:
        session.start(config_of(turns.spec), dataset, path=Path(folder) / "run", watch=pace)


def evaluate(turns: Turns) -> None:
    """Recall and NDCG at 20 and 50 of all users, on the vectors that the driver hands to every side."""
    dataset = dataset_of(turns.spec)
    evaluator = Evaluator(dataset, metrics=("recall@20", "ndcg@20", "recall@50", "ndcg@50"))
    towers = given(turns.spec)
    turns.each(lambda: {"quality": evaluator.evaluate(towers, "test").metrics})


def top(turns: Turns) -> None:
    """The best k unseen items of every user, on the vectors that the driver hands to every side."""
    dataset, towers = dataset_of(turns.spec), given(turns.spec)
    users = torch.arange(dataset.n_users)

    def unit() -> None:
        top_k(towers, users, turns.spec["k"], n_items=dataset.n_items, mask=(dataset.train,))

    turns.each(unit)


def sample(turns: Turns) -> None:
    """Exact uniform negatives for all train rows in batches by the bare kernel, shuffled or in users' order."""
    spec, dataset = turns.spec, dataset_of(turns.spec)
    user, _ = dataset.pairs("train")
    order = torch.randperm(len(user), generator=torch.Generator().manual_seed(0))
    if spec.get("order") == "users":
        order = user.sort(stable=True).indices
    rows = [(row, user[row]) for row in order.split(spec.get("batch", 2048))]

    def unit() -> None:
        for row, owner in rows:
            draw_even(1, row, user=owner, rows=dataset.train.rows, n=spec["negatives"])

    turns.each(unit)


def given(spec: dict) -> Towers:
    """The vectors that the driver hands to every side."""
    with np.load(spec["factors"]) as found:
        return Towers(torch.from_numpy(found["user"]), torch.from_numpy(found["item"]))


def main() -> None:
    turns = Turns()
    torch.set_num_threads(turns.spec["threads"])
    kind = turns.spec["work"].partition("_")[0]
    {"mf": train, "lightgcn": train, "sample": sample, "evaluate": evaluate, "top": top}[kind](turns)


if __name__ == "__main__":
    main()
