"""A sampler as a tree of its parts, each with the parameters that it was made with."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from negsieve.samplers.base import Chain, Composition, Learner
from negsieve.schedule import Schedule

_OF_THE_DATA = {"self", "n_items", "n_users", "seen", "seed", "dim", "popularity", "explicit", "states"}
_PLAIN = (bool, int, float, str)


def tree(part: Learner) -> dict[str, Any]:
    """``{"part", "parameters", "needs", "parts"}`` of a sampler or stage, and so on inside."""
    return {
        "part": type(part).__name__,
        "parameters": parameters(part),
        "needs": sorted(part.needs),
        "parts": [tree(one) for one in inside(part)],
    }


def inside(part: Learner) -> list[Learner]:
    """The Learners that a part is made of, in order."""
    if isinstance(part, Composition):
        return list(part.parts())
    return [one for one in part.children() if isinstance(one, Learner)]


def parameters(part: Learner) -> dict[str, Any]:
    """What a part was made with, as far as it keeps it: numbers, text and schedules."""
    wanted = [name for name in inspect.signature(type(part).__init__).parameters if name not in _OF_THE_DATA]
    names = [name for name in (*wanted, "shares") if hasattr(part, name)]
    found = {name: _shown(getattr(part, name)) for name in dict.fromkeys(names)}
    found = {name: value for name, value in found.items() if value is not None}
    line = getattr(part, "line", None)
    return found if line is None else found | {"law": "uniform" if line.even else "weighted"}


def chain(sampler: Learner) -> list[Learner]:
    """The source and the stages of a chain, chains inside chains laid out; anything else is alone."""
    if not isinstance(sampler, Chain):
        return [sampler]
    return [*chain(sampler.source), *sampler.stages]


def _shown(value: Any) -> Any:
    if isinstance(value, Schedule):
        return float(value) if value.kind == "constant" else repr(value)
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, list | tuple) and all(isinstance(one, _PLAIN) for one in value):
        return list(value)
    return None


def bytes_of(module: nn.Module) -> dict[str, int]:
    """Bytes by kind: the data's ``index`` (not in checkpoints), ``memory`` (in them), trained ``parameters``.

    Tensors that share storage count once.
    """
    kept, seen = set(module.state_dict()), set()
    found = {"index": 0, "memory": 0, "parameters": 0}
    kinds = [("parameters", one) for _, one in module.named_parameters()]
    kinds += [("memory" if name in kept else "index", one) for name, one in module.named_buffers()]
    for kind, value in kinds:
        if value.layout != torch.strided:
            found[kind] += value.values().nbytes
            continue
        storage = value.untyped_storage()
        if storage.data_ptr() not in seen or not storage.nbytes():
            seen.add(storage.data_ptr())
            found[kind] += storage.nbytes()
    return found
