"""What this installation has to work with: versions, processor, memory, kernels, and what the kernels bring here."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from time import process_time
from typing import Any

import torch

from negsieve.cores import usable_cores
from negsieve.kernels import native
from negsieve.kernels.draw import draw_even, draw_even_reference
from negsieve.kernels.score import score_candidates, score_candidates_reference
from negsieve.rng import streams
from negsieve.seen import Seen
from negsieve.store.environment import environment

_GB = 1 << 30
_USERS, _ITEMS, _PAIRS, _ROWS, _DRAWS, _WIDTH = 2_000, 20_000, 40_000, 2_048, 16, 64


def examine() -> dict[str, Any]:
    """Plain JSON values: ``environment``, ``cores``, ``memory``, ``gpu``, ``kernels``, ``speed`` and ``advice``.

    Cost: well under a second of one core, most of it timing.
    """
    return {
        "environment": environment(),
        "cores": {"here": os.cpu_count(), "usable": usable_cores(), "threads": torch.get_num_threads()},
        "memory": _memory(),
        "gpu": [torch.cuda.get_device_name(one) for one in range(torch.cuda.device_count())],
        "kernels": {"in_use": native.name(), "here": native.found(), "asked": os.environ.get("NEGSIEVE_KERNELS")},
        "speed": _speed(),
        "advice": _advice(),
    }


def _memory() -> dict[str, float]:
    """Gigabytes of the machine, and free; nothing where the system does not say."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return {
            "total_gb": round(os.sysconf("SC_PHYS_PAGES") * page / _GB, 1),
            "free_gb": round(os.sysconf("SC_AVPHYS_PAGES") * page / _GB, 1),
        }
    except (ValueError, OSError):
        return {}


def _speed() -> list[dict[str, Any]]:
    """Millions a CPU second of kernels and their torch twins, on made-up data of a middling size."""
    rng = streams("doctor")
    pairs = [torch.randint(n, (_PAIRS,), generator=rng) for n in (_USERS, _ITEMS)]
    seen = Seen(*pairs, n_users=_USERS, n_items=_ITEMS)
    user = torch.randint(_USERS, (_ROWS,), generator=rng)
    table = torch.randn(_ITEMS, _WIDTH, generator=rng)
    query, item = table[:_ROWS].clone(), torch.randint(_ITEMS, (_ROWS, _DRAWS), generator=rng)
    rows = torch.arange(_ROWS)
    drawing = {"user": user, "rows": seen.rows, "n": _DRAWS}
    work: dict[str, list[Callable]] = {
        "draw unseen items": [partial(one, 1, rows, **drawing) for one in (draw_even, draw_even_reference)],
        "rate candidates": [partial(one, query, table, item) for one in (score_candidates, score_candidates_reference)],
    }
    return [
        {"what": what, "millions_a_second": _rate(kernel), "torch": _rate(twin)}
        for what, (kernel, twin) in work.items()
    ]


def _rate(work: Callable) -> float:
    """Millions of results a CPU second, the best of a few calls."""
    with torch.no_grad():
        work()
        times = []
        for _ in range(5):
            begun = process_time()
            work()
            times.append(process_time() - begun)
    return round(_ROWS * _DRAWS / max(min(times), 1e-9) / 1e6, 1)


def _advice() -> list[str]:
    """What is worth doing about it, a sentence each."""
    found = []
    if native.module() is None and os.environ.get("NEGSIEVE_KERNELS") == "off":
        found.append("The compiled kernels are switched off: unset NEGSIEVE_KERNELS to have them.")
    elif native.module() is None:
        found.append(
            "No compiled kernels: everything works, slower. Install a C++17 compiler and run: "
            "pip install --force-reinstall --no-deps negsieve"
        )
    if torch.get_num_threads() > usable_cores():
        found.append(
            f"torch uses {torch.get_num_threads()} threads where {usable_cores()} cores may be used: "
            f"waiting threads slow each other down. Set OMP_NUM_THREADS={usable_cores()}, or --threads."
        )
    return found
