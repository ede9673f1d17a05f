"""Finds the compiled module that fits this processor, if there is one.

Nothing depends on it: where no module was built, or ``NEGSIEVE_KERNELS=off`` says so, every kernel's torch
twin does the same work, slower. ``negsieve doctor`` says which is in use.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from negsieve.errors import UsageError

CHOICES = ("auto", "off", "v2", "v3")


@cache
def module() -> ModuleType | None:
    """The compiled kernels; None where there are none, or ``NEGSIEVE_KERNELS=off`` asks for none.

    ``NEGSIEVE_KERNELS=v2`` or ``v3`` insists on one kind. Raises UsageError where that is missing or does not
    run here.
    """
    wanted = os.environ.get("NEGSIEVE_KERNELS", "auto")
    if wanted not in CHOICES:
        raise UsageError(f"NEGSIEVE_KERNELS={wanted!r}, wanted one of {', '.join(CHOICES)}")
    base = None if wanted == "off" else _find("_v2")
    if base is None or wanted == "v2":
        return _insisted(base, wanted)
    best = _find("_v3") if base.runs_v3() else None
    return _insisted(best, wanted) if wanted == "v3" else best or base


def name() -> str | None:
    """The instruction set of the module in use, such as ``x86-64-v3``; None without one."""
    return None if module() is None else module().isa


def found() -> list[str]:
    """The instruction sets that this installation has modules for and this processor runs, whatever is asked for."""
    base = _find("_v2")
    best = _find("_v3") if base and base.runs_v3() else None
    return [one.isa for one in (base, best) if one]


def serves(*tensors: Tensor | None) -> bool:
    """Whether compiled kernels can take these tensors: there is a module, and all lie on the CPU."""
    return module() is not None and all(one is None or one.device.type == "cpu" for one in tensors)


def threads() -> int:
    """How many threads a kernel may use: as many as torch."""
    return torch.get_num_threads()


def _find(name: str) -> ModuleType | None:
    try:
        return import_module(f"negsieve.kernels.{name}")
    except ImportError:
        return None


def _insisted(found: ModuleType | None, wanted: str) -> ModuleType | None:
    if found is None and wanted in ("v2", "v3"):
        raise UsageError(f"NEGSIEVE_KERNELS={wanted}: there is no such module here, or the processor cannot run it")
    return found
