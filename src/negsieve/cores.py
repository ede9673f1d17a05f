"""How many processor cores this process may use: what it is bound to, less what a container's quota leaves of it."""

from __future__ import annotations

import math
import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def usable_cores(*, root: Path = _ROOT, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Cores by affinity, or fewer where a cgroup (version 1 or 2) grants less time; a part of a core counts as one.

    root, membership  where the kernel tells of quotas and of this process's groups
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _folders(root, membership) if (quota := _quota(folder)) is not None]
    return max(1, min(bound, *(math.ceil(quota) for quota in quotas)) if quotas else bound)


def _folders(root: Path, membership: Path) -> list[Path]:
    """The groups that hold this process, innermost first: every one of them limits it."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "cpu" if controllers else root
        inner = base / path.lstrip("/")
        # inside a container the path may be that of the host, which is not there; its own group is then the root
        found += [one for one in (inner, *inner.parents) if one.is_relative_to(base)]
    return found


def _quota(folder: Path) -> float | None:
    """Cores' worth of time a period, None for no limit."""
    try:
        if (new := folder / "cpu.max").is_file():
            limit, period = new.read_text(encoding="utf-8").split()
            return None if limit == "max" else float(limit) / float(period)
        limit = float((folder / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
        return None if limit <= 0 else limit / float((folder / "cpu.cfs_period_us").read_text(encoding="utf-8"))
    except (OSError, ValueError, ZeroDivisionError):
        return None
