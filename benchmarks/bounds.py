"""The least time that each row's work could take on this machine, from the ceilings measured in the same run.

Each function gives ``{our side: (CPU seconds, what bounds it)}``. They are models of the traffic that the work
cannot avoid, not of an implementation: a share of one half says that a kernel twice as fast would be at the limit.
"""

from __future__ import annotations

from collections.abc import Callable

from rows import BATCH, DIM

from negsieve.data.dataset import Dataset

ROW_BYTES = 4 * DIM
CANDIDATES, LAYERS = 16, 3


def _streamed(n_rows: float, copies: int, limits: dict) -> float:
    """Seconds to read and write ``copies`` rows for each of ``n_rows``."""
    return n_rows * copies * 2 * ROW_BYTES / (limits["triad_gb_s"] * 1e9)


def _gathered(n_rows: float, limits: dict, table: str = "10") -> float:
    return n_rows / (limits["rows_m_s"][table] * 1e6)


def mf_adam(limits: dict, dataset: Dataset) -> dict:
    # three rows a pair, each with its two moments
    return {"ours": (_streamed(len(dataset.train) * 3, 3, limits), "rows and moments read and written")}


def mf_sgd(limits: dict, dataset: Dataset) -> dict:
    return {"ours": (_streamed(len(dataset.train) * 3, 1, limits), "rows read and written")}


def mf_dns(limits: dict, dataset: Dataset) -> dict:
    n = len(dataset.train)
    rated = _gathered(n * CANDIDATES, limits)
    why = "candidates gathered, rows read and written"
    moments = {"ours, Adam": 3, "ours, sparse Adam": 3, "ours, SGD": 1}
    return {name: (rated + _streamed(n * 3, copies, limits), why) for name, copies in moments.items()}


def _propagated(limits: dict, dataset: Dataset, *, candidates: int) -> dict:
    """Six products a batch, the last forward one and the first backward one only where rows are needed."""
    n, nodes = len(dataset.train), dataset.n_users + dataset.n_items
    steps = -(-n // BATCH)
    partial = 0.17  # of the products' entries that a batch of 2048 reaches, measured on Gowalla
    products = 2 * LAYERS - 2 + (partial if candidates == 1 else 1) + partial
    gathered = steps * products * 2 * n / (limits["rows_m_s"]["18"] * 1e6)
    rated = _gathered(n * candidates, limits) if candidates > 1 else 0.0
    adam = steps * nodes * ROW_BYTES * 7 / (limits["triad_gb_s"] * 1e9)  # four read, three written
    why = "neighbours gathered, parameters and moments read and written"
    half = gathered / 2  # rows of half the bytes
    return {"ours": (gathered + rated + adam, why), "ours, bf16 states": (half + rated + adam, why)}


def lightgcn(limits: dict, dataset: Dataset) -> dict:
    return _propagated(limits, dataset, candidates=1)


def lightgcn_dns(limits: dict, dataset: Dataset) -> dict:
    return _propagated(limits, dataset, candidates=CANDIDATES)


def ranking(limits: dict, dataset: Dataset) -> dict:
    flops = 2.0 * dataset.n_users * dataset.n_items * DIM
    return {"ours": (flops / (limits["sgemm_gflop_s"] * 1e9), "the product of all users with all items")}


BOUNDS: dict[str, Callable[[dict, Dataset], dict[str, tuple[float, str]]]] = {
    "mf-adam": mf_adam,
    "mf-sgd": mf_sgd,
    "mf-dns": mf_dns,
    "lightgcn": lightgcn,
    "lightgcn-dns": lightgcn_dns,
    "evaluate": ranking,
    "top-1000": ranking,
}
