"""How the driver and one side of a comparison take turns: a process that works when told and says what it cost.

Imported in every peer's environment, so it needs nothing but numpy. A side is started once, loads its data, and
then does one unit of work (an epoch, some batches, an evaluation) at each ``go``; between units it sleeps, so
that two sides can be timed A B A B without paying for their start each time.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

import numpy as np


class Turns:
    """One side's end of the conversation, JSON lines on what was standard output.

    spec  what the driver asks for: ``arrays`` (the file of ``read``), ``work``, ``threads``, settings of the work
    """

    def __init__(self) -> None:
        self.spec = json.loads(sys.argv[1])
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)  # what a library prints goes to the log
        self._begun = (0.0, 0.0)

    def ready(self, **facts) -> None:
        """Loaded: says so and waits for the first ``go``."""
        self._say({"ready": facts, "peak_mb": peak_mb(), "cpu": time.process_time()})
        self._await(None)

    def finished(self, *, share: float = 1.0, factors: Callable | None = None, **facts) -> None:
        """A unit is done: says what it cost and waits for the next ``go``; ends the process on ``stop``.

        share    how much of the whole piece of work (an epoch) the unit was
        factors  gives (user vectors [U, D], item vectors [I, D]) whose products are the scores, if asked
        facts    anything else that belongs to the unit, such as what an evaluator found
        """
        cpu, wall = time.process_time() - self._begun[0], time.perf_counter() - self._begun[1]
        self._say({"cpu": cpu, "wall": wall, "share": share, "peak_mb": peak_mb(), **facts})
        self._await(factors)

    def each(self, unit: Callable[[], dict | None], *, factors: Callable | None = None) -> None:
        """Loaded: does ``unit()`` at every ``go``; what it returns are arguments of ``finished``."""
        self.ready()
        while True:
            self.finished(**unit() or {}, factors=factors)

    def _await(self, factors: Callable | None) -> None:
        for line in sys.stdin:
            order, _, rest = line.strip().partition(" ")
            if order == "go":
                self._begun = (time.process_time(), time.perf_counter())
                return
            if order == "factors":
                found = (
                    None if factors is None else [np.ascontiguousarray(side, dtype=np.float32) for side in factors()]
                )
                if found is not None:
                    np.savez(rest, user=found[0], item=found[1])
                self._say({"factors": found is not None})
        sys.exit(0)

    def _say(self, facts: dict) -> None:
        self._out.write(json.dumps(facts) + "\n")


def read(path: str) -> dict[str, np.ndarray]:
    """The arrays that all sides share: ``train``, ``test`` (``int64[n, 2]``, user and item) and their ``sizes``."""
    with np.load(path) as found:
        return dict(found)


def by_user(pairs: np.ndarray, n_users: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs as (offsets ``int64[U + 1]``, items ``int32[n]``), the items of a user ascending."""
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    offset = np.concatenate([[0], np.cumsum(np.bincount(pairs[:, 0], minlength=n_users))])
    return offset, pairs[order, 1].astype(np.int32)


def csr(pairs: np.ndarray, sizes: np.ndarray):
    """Pairs as a scipy matrix of ones, users by items."""
    from scipy.sparse import csr_matrix

    ones = np.ones(len(pairs), dtype=np.float32)
    return csr_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=tuple(int(size) for size in sizes))


def peak_mb() -> float:
    """The largest resident size of this process so far."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
