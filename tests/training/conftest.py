"""Two domains for runs: what a user does in one follows from the other."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from negsieve.data.domains import take_apart
from negsieve.data.read import read
from negsieve.data.split import split
from negsieve.rng import derive
from negsieve.training.watch import Silent


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


class Killed(BaseException):
    """Stands for the end of the process: nothing may catch it."""


class KillAt(Silent):
    def __init__(self, epoch, step):
        self.at = (epoch, step)

    def step(self, epoch, step):
        if (epoch, step) == self.at:
            raise Killed


def digest(run):
    """The newest checkpoint's files and the records without their times."""
    files = sorted(file for file in max(run.checkpoints.iterdir()).rglob("*") if file.is_file())
    records = [{key: value for key, value in record.items() if key != "seconds"} for record in run.metrics()]
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files], records


@pytest.fixture(scope="session")
def stopping():
    """``At(epoch, step)``, a watcher that ends a run there by ``Killed``, and the ``digest`` of what a run left."""
    return SimpleNamespace(Killed=Killed, At=KillAt, digest=digest)
