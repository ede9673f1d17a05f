"""The reproduction scripts are no part of the package: tests find them where they are."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from negsieve.rng import derive

FOLDER = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="session")
def command():
    """The script ``realhns.py`` as a module."""
    sys.path.insert(0, str(FOLDER))
    try:
        import realhns
    finally:
        sys.path.remove(str(FOLDER))
    return realhns


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with a log such as Amazon Toy and Game, of 40 users whose every toy follows from the game before it."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(derive("tiny domains", seed=0))
    rows = []
    for user in range(40):
        games = rng.permutation(30)[: int(rng.integers(5, 9))]
        both = [one for game in games for one in ((game, "game"), (30 + (7 * game + 3) % 30, "toy"))]
        rows += [(str(user), str(item), place, domain) for place, (item, domain) in enumerate(both)]
    names = ("user_id", "item_id", "position", "domain")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    (folder / "amazon-toy-game").mkdir()
    pq.write_table(pa.table(columns), folder / "amazon-toy-game" / "interactions.parquet")
    return folder
