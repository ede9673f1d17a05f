"""Two domains for runs: what a user does in one follows from the other."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from negsieve.data.domains import take_apart
from negsieve.data.read import read
from negsieve.data.split import split
from negsieve.rng import derive


def told_by_the_other(n_users=80, n_items=30, *, seed=0, target="toy", sources=("game",)):
    """Users whose every toy follows from the game before it, and from no toy: rows stand in order."""
    rng = np.random.default_rng(derive("two domains", seed=seed))
    rows = []
    for user in range(n_users):
        for game in rng.permutation(n_items)[: int(rng.integers(5, 14))].tolist():
            rows.append((f"u{user}", f"game{game}", "game"))
            if rng.random() < 0.3:
                rows.append((f"u{user}", f"game{(game + 11) % n_items}", "game"))
                game = (game + 11) % n_items
            rows.append((f"u{user}", f"toy{(7 * game + 3) % n_items}", "toy"))
    rows = list(dict.fromkeys(rows))
    columns = zip(("user_id", "item_id", "domain"), map(list, zip(*rows, strict=True)), strict=True)
    log, beside = take_apart(read(pa.table(dict(columns)), item_ids="apart"), target, sources=sources)
    return replace(split(log, "loo", name=target), aside=beside)


@pytest.fixture(scope="session")
def domains():
    """``domains(target=.., sources=..)`` makes one."""
    return told_by_the_other
