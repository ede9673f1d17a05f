"""A finished run, opened: its data, its best model, ready to rank."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from negsieve.config import RunConfig, resolve
from negsieve.data import snapshot
from negsieve.data.dataset import Dataset
from negsieve.errors import MissingInput
from negsieve.models.base import Model
from negsieve.models.named import build_model
from negsieve.store.run import Run


@dataclass(frozen=True)
class Trained:
    """What a run directory holds once training ended."""

    run: Run
    config: RunConfig
    dataset: Dataset
    model: Model


def open_trained(path: str | Path) -> Trained:
    """Opens the run at ``path`` and loads its best weights, every file verified.

    Raises MissingInput when there is no run or it is not finished, CheckpointError or DataError
    when a file is damaged.
    """
    run = Run.open(Path(path))
    if run.result() is None:
        raise MissingInput(f"{path}: this run is not finished; go on with: negsieve train --resume {path}")
    config, dataset = resolve(run.config()), snapshot.load(run.path / "data")
    model = build_model(
        config.model,
        n_users=dataset.n_users,
        n_items=dataset.n_items,
        train=dataset.train,
        history=lambda order: dataset.histories("train", order=order),
        aside=lambda order: dataset.asides("train", order=order),
        seed=config.train.seed,
    )
    model.load_state_dict(run.load_best().groups["model"])
    return Trained(run, config, dataset, model)
