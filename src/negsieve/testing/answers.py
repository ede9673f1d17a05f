"""What is lawful in one answer of a sampler, and when two answers are the same."""

from __future__ import annotations

from dataclasses import fields

import torch

from negsieve.samplers.base import Sampler
from negsieve.types import Negatives

_NAMES = [field.name for field in fields(Negatives)]


class CheckFailed(ValueError):
    """A sampler broke a rule. ``rule`` is its short name, the message says what was seen."""

    def __init__(self, rule: str, message: str) -> None:
        self.rule = rule
        super().__init__(f"{rule}: {message}")


def check_shapes(found: Negatives, rows: int, device: torch.device) -> None:
    """Raises ``CheckFailed`` unless every field has a lawful shape, type and device for ``rows`` rows."""
    item = found.item
    if item.ndim != 2 or len(item) not in (1, rows):
        raise CheckFailed("shape", f"item is {list(item.shape)} for {rows} rows, wanted [{rows}, K] or [1, K]")
    many = item.shape[1]
    full, flat = (rows, many), (1, many)
    width = () if found.vector is None else found.vector.shape[2:]
    lawful = {
        "item": (full, flat),
        "keep": (full,),
        "log_q": (full, flat),
        "weight": (full,),
        "vector": ((*full, *width), (*item.shape, *width)) if len(width) == 1 else (),
        "ego": ((*full, *width),),
        "parts": ((*full, *getattr(found.parts, "shape", ())[2:]),),
        "positive_log_q": ((rows,),),
        "bound": ((rows,),),
        "origin": (full,),
    }
    whole = {"item": torch.long, "parts": torch.long, "keep": torch.bool, "origin": torch.int8}
    for name in _NAMES:
        value = getattr(found, name)
        if value is None:
            continue
        if tuple(value.shape) not in lawful[name] or (name == "parts" and value.ndim != 3):
            raise CheckFailed("shape", f"{name} is {list(value.shape)} beside item {list(item.shape)} and {rows} rows")
        right = value.dtype == whole[name] if name in whole else value.is_floating_point()
        if not right:
            raise CheckFailed("shape", f"{name} is {value.dtype}, wanted {whole.get(name, 'a floating point type')}")
        if value.device.type != device.type:
            raise CheckFailed("device", f"{name} is on {value.device}, and the batch on {device}")


def check_values(found: Negatives, rows: int) -> None:
    """Raises ``CheckFailed`` unless what is kept is finite, weights are not negative and log q is."""
    keep = torch.ones(rows, found.item.shape[1], dtype=torch.bool, device=found.item.device)
    keep = keep if found.keep is None else found.keep
    for name in ("log_q", "weight", "vector", "ego", "positive_log_q", "bound"):
        value = getattr(found, name)
        if value is None:
            continue
        value = value.detach()
        value = value if name in ("positive_log_q", "bound") else value.expand(rows, *value.shape[1:])[keep]
        if not bool(value.isfinite().all()):
            raise CheckFailed("range", f"{name} is not finite where keep is True")
        if name == "weight" and bool((value < 0).any()):
            raise CheckFailed("range", "weight is negative somewhere")
        if name.endswith("log_q") and bool((value > 1e-5).any()):
            raise CheckFailed("range", f"{name} is above 0: it must be the logarithm of a probability")


def difference(one: Negatives, two: Negatives) -> str | None:
    """The first field in which two answers differ."""
    for name in _NAMES:
        a, b = getattr(one, name), getattr(two, name)
        if (a is None) != (b is None) or (a is not None and not equal(a, b)):
            return name
    return None


def equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Bit for bit, a NaN being equal to a NaN."""
    same = a.shape == b.shape and a.dtype == b.dtype
    return same and bool(((a == b) | ((a != a) & (b != b))).all())


def memory_of(sampler: Sampler) -> dict[str, torch.Tensor]:
    """Copies of all that a sampler holds, by name."""
    named = [*sampler.state_dict().items(), *sampler.named_buffers(), *sampler.named_parameters()]
    return {name: value.detach().clone() for name, value in named}


def same_memory(before: dict[str, torch.Tensor], sampler: Sampler, rule: str, what: str) -> None:
    """Raises ``CheckFailed`` unless a sampler holds what it held ``before``; ``what`` begins the sentence."""
    after = memory_of(sampler)
    changed = [name for name in {**before, **after} if name not in before or name not in after]
    changed += [name for name in before if name in after and not equal(before[name], after[name])]
    if changed:
        raise CheckFailed(rule, f"{what} {', '.join(sorted(changed))}; only learn and refresh may write memory")
