"""A data set from a table of parts, and an encoder from a table of scores."""

import numpy as np
import pytest
import torch

from negsieve.data.dataset import Dataset
from negsieve.data.interactions import Interactions
from negsieve.data.vocabulary import Vocabulary
from negsieve.scorers import Function


def _dataset(parts) -> Dataset:
    """``parts int[U, I]``: 0 train, 1 valid, 2 test, -1 nothing."""
    parts = np.asarray(parts)
    user, item = np.nonzero(parts >= 0)
    vocabularies = (
        Vocabulary([f"{kind}{n}" for n in range(size)]) for kind, size in zip("ui", parts.shape, strict=True)
    )
    log = Interactions(user.astype(np.int64), item.astype(np.int64), *vocabularies)
    return Dataset("toy", log, parts[user, item].astype(np.int8))


class _Table:
    """An encoder that reads ``Float[U, I]`` and has no ``.all()``."""

    def __init__(self, table) -> None:
        self.table = torch.as_tensor(table)

    def __call__(self, batch):
        rows = self.table[batch.user]
        return Function(lambda item: rows.gather(1, item.expand(len(rows), -1)))


@pytest.fixture(scope="session")
def dataset_of():
    return _dataset


@pytest.fixture(scope="session")
def table_of():
    return _Table


@pytest.fixture(scope="session")
def random_case():
    """seed -> (parts [U, I], scores [U, I] with many ties): small, ragged, with cold users and items."""

    def make(seed: int, *, users: int = 9, items: int = 13, levels: int = 4):
        rng = np.random.default_rng(seed)
        parts = rng.choice([-1, 0, 1, 2], p=[0.45, 0.25, 0.15, 0.15], size=(users, items))
        parts[rng.random(users) < 0.2] = rng.choice([-1, 1, 2], size=items)  # cold users
        cold = rng.random(items) < 0.2
        parts[:, cold] = np.where(parts[:, cold] == 0, -1, parts[:, cold])
        parts[0, 0], parts[0, 1], parts[0, 2] = 0, 1, 2  # no part is empty
        scores = rng.integers(0, levels, size=(users, items)).astype(np.float32) / 2 - 0.5
        return parts, scores

    return make
