"""How much memory a run will take, told before it trains, and how much it took.

What is held by then (data, tables, the sampler's memory, Python and torch themselves) is read off the process. What
is still to come is linear in the tables, the batch and the catalogue, and is estimated.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path

import pyarrow as pa

from negsieve.config import TrainConfig
from negsieve.kernels import rank
from negsieve.models.base import Model
from negsieve.samplers.base import Sampler

_MOMENTS = {"adam": 2, "adamw": 2, "sparse_adam": 2, "adagrad": 1}
_SCORES = 3  # a chunk's scores, their copy without what is masked, and room to sort
_SERVED = 1  # compiled ranking stores none, but AUC reads a chunk's, and the items laid out take about as much
_PAGE = resource.getpagesize()


def held() -> int:
    """Bytes of memory that this process holds now; its peak where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return peak()


def peak() -> int:
    """The most bytes that this process has held at once."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def give_back() -> None:
    """Gives what was freed, and is kept for the next to ask, back to the system, where it takes it (Arrow, glibc).

    Reading and writing data needs more at once than training does, in pieces that do not fit what comes then.
    Cost: milliseconds.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def expected(
    model: Model, sampler: Sampler, config: TrainConfig, *, chunk: int, by_autograd: bool, remembered: int = 0
) -> dict[str, int]:
    """Bytes by what holds them, and their ``total``: an estimate before the first step.

    chunk       users that are ranked together
    remembered  bytes of the optimiser's memory that are held by now; torch's makes its own at the first step
    """
    drawn = max((getattr(one, "n_negatives", None) or 1 for one in sampler.modules()), default=1)  # none: not told
    tables = sum(one.nbytes for one in model.parameters())
    moments = _MOMENTS.get(config.optimiser, 1 if config.momentum else 0)
    step = model.step_bytes(config.batch_size, drawn)
    told = {
        "held": held(),
        "optimiser": max(moments * tables - remembered, 0),
        "step": step + (tables if by_autograd else 0),
        "ranking": chunk * model.n_items * 4 * (_SERVED if rank.serves(*model.parameters()) else _SCORES),
    }
    return told | {"total": sum(told.values())}


def words(told: dict[str, int]) -> str:
    """``about 420 MB: 310 held, 36 optimiser, ..``; and what reading took, where that was more."""
    parts = ", ".join(f"{value / 1e6:.0f} {name}" for name, value in told.items() if value and name != "total")
    before = peak()
    more = f"; {before / 1e6:.0f} MB were held for a while before" if before > told["total"] else ""
    return f"about {told['total'] / 1e6:.0f} MB: {parts}{more}"
