"""What this machine can do, with the threads that the sides have: streaming, random rows, matrix products.

triad      GB/s of ``c = a + s * b`` over arrays of 16 MB, three of them moved
rows       256-byte rows a second gathered and summed at random from tables of some megabytes
sgemm      GFLOP/s of [256, 64] x [64, 2048], the tile of a full ranking
"""

from __future__ import annotations

import time

import torch
from turns import Turns

TABLES = (10, 18, 256)  # MB: the items of Gowalla, users and items, a million rows


def best(unit, least: float = 0.06, tries: int = 5) -> float:
    """Seconds of one call, the best of some rounds of calls that last ``least``: CPU seconds at one thread."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter

    def lasts(times: int) -> float:
        begun = clock()
        for _ in range(times):
            unit()
        return clock() - begun

    times = 1
    while lasts(times) < least:
        times *= 2
    return min(lasts(times) for _ in range(tries)) / times


def triad() -> float:
    a, b, c = (torch.ones(1 << 22) for _ in range(3))
    return 3 * a.nbytes / best(lambda: torch.add(a, b, alpha=3.0, out=c)) / 1e9


def rows(megabytes: int) -> float:
    table = torch.ones(megabytes * 2**20 // 256, 64)
    place = torch.randint(len(table), (1 << 16,), generator=torch.Generator().manual_seed(0))
    offset = torch.arange(0, len(place), 16)
    return len(place) / best(lambda: torch.nn.functional.embedding_bag(place, table, offset, mode="sum"))


def sgemm() -> float:
    a, b, c = torch.ones(256, 64), torch.ones(64, 2048), torch.empty(256, 2048)
    return 2 * a.numel() * b.shape[1] / best(lambda: torch.mm(a, b, out=c)) / 1e9


def main() -> None:
    turns = Turns()
    torch.set_num_threads(turns.spec["threads"])

    def unit() -> dict:
        table = {str(size): round(rows(size) / 1e6, 1) for size in TABLES}
        return {
            "ceilings": {"triad_gb_s": round(triad(), 1), "rows_m_s": table, "sgemm_gflop_s": round(sgemm(), 1)},
        }

    turns.each(unit)


if __name__ == "__main__":
    main()
