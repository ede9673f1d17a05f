"""One judge for all sides: Recall and NDCG of user and item vectors, by our full ranking over train's rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from workers import Place, Worker

from negsieve.data.dataset import Dataset
from negsieve.evaluation.evaluator import Evaluator
from negsieve.scorers import Towers

TURNS_OF_VECTORS = 4


class Judge:
    """Measures whatever has vectors on the test part of one data set.

    NDCG is that of LightGCN, implicit and RecBole: the ideal list is as long as the user has test items, cut at k.
    """

    def __init__(self, dataset: Dataset, place: Place) -> None:
        self.dataset, self.place = dataset, place
        self._evaluator = Evaluator(dataset, metrics=("recall@20", "ndcg@20"))

    def of_worker(self, worker: Worker) -> dict[str, float]:
        """What a side has trained so far; nothing where it has no vectors."""
        found = worker.factors(self.place.cache / "judged.npz")
        return {} if found is None else self.of_vectors(found["user"], found["item"])

    def of_vectors(self, user: np.ndarray, item: np.ndarray) -> dict[str, float]:
        """``user Float[U, D]``, ``item Float[I, D]``, whose products are the scores."""
        towers = Towers(torch.from_numpy(user), torch.from_numpy(item))
        return {key: round(value, 5) for key, value in self._evaluator.evaluate(towers, "test").metrics.items()}

    def vectors(self, place: Place) -> Path:
        """Vectors for the rows that rank and do not train: our MF after some epochs, made once."""
        from rows import DNS, mf

        path = place.cache / f"vectors-{self.dataset.hash[:12]}.npz"
        if not path.exists():
            side = mf("vectors", "adam", DNS, lr=4e-3)
            with Worker("ours", side.name, {"work": "mf_vectors", **side.spec}, place=place) as worker:
                for _ in range(TURNS_OF_VECTORS):
                    worker.go()
                worker.factors(path)
        return path
