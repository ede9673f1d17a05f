"""What a run ran on. The same bits are promised only where these agree."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def environment(device: str = "cpu") -> dict:
    """Versions, platform, processor, threads, compiled kernels and device, as plain JSON values."""
    import numpy
    import torch

    from negsieve import __version__
    from negsieve.kernels import native

    found = {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "negsieve": __version__,
        "platform": platform.platform(),
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "kernels": native.name() or "none",
        "device": str(device),
    }
    if str(device).startswith("cuda") and torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name(torch.device(device))
        found["cuda"] = torch.version.cuda
    return found


def differences(before: dict, now: dict) -> list[str]:
    """A line for each thing that changed, for example ``torch: 2.6.0, now 2.7.0``; names sorted."""
    return [
        f"{name}: {before.get(name)}, now {now.get(name)}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
