"""What tests of several rooms share: a small data set with structure, and the real ones by name."""

from pathlib import Path

import numpy as np
import pytest

from negsieve.data.dataset import Dataset
from negsieve.data.interactions import Interactions
from negsieve.data.vocabulary import Vocabulary
from negsieve.rng import derive

SHARED = Path(__file__).parents[1] / "../shared/data"


def make_dataset(n_users: int = 40, n_items: int = 60, *, seed: int = 0, groups: int = 4) -> Dataset:
    """Users like the items of their own group: a model that learns anything ranks them first."""
    rng = np.random.default_rng(derive("test data", seed=seed))
    taste = 0.03 + 0.5 * (np.arange(n_users)[:, None] % groups == np.arange(n_items)[None] % groups)
    user, item = np.nonzero(rng.random((n_users, n_items)) < taste)
    part = rng.choice(3, size=len(user), p=[0.7, 0.15, 0.15]).astype(np.int8)
    for one in range(n_users):  # everybody has something in train
        mine = np.flatnonzero(user == one)
        if len(mine) and not (part[mine] == 0).any():
            part[mine[0]] = 0
    log = Interactions(
        user=user,
        item=item,
        users=Vocabulary([f"u{number}" for number in range(n_users)], kind="user"),
        items=Vocabulary([f"i{number}" for number in range(n_items)], kind="item"),
        titles=[f"Item {number}" for number in range(n_items)],
    )
    return Dataset("small", log, part, {"method": "given"})


@pytest.fixture(scope="session")
def small() -> Dataset:
    return make_dataset()


@pytest.fixture
def shared():
    """``shared("ml-100k")`` is the folder of a real data set; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        folder = SHARED / name
        if not folder.exists():
            pytest.skip(f"real data set {name} is not beside this checkout")
        return folder

    return find
