"""An optimiser's memory as tensors and JSON, and back to the same bits, without pickle."""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.errors import ConfigError


def pack_optimiser(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict]:
    """``(tensors, state)``: tensors for a checkpoint group, and JSON for its state.

    Works for optimisers whose ``state_dict`` holds, a parameter, tensors and plain values: Adam,
    AdamW, SGD, Adagrad and their like. The tensors share memory with the optimiser.
    """
    known = optimiser.state_dict()
    tensors: dict[str, Tensor] = {}
    memory = {}
    for place, held in known["state"].items():
        memory[str(place)] = _split(held, f"state.{place}.", tensors)
    groups = [_split(group, f"group.{place}.", tensors) for place, group in enumerate(known["param_groups"])]
    state = {"kind": type(optimiser).__name__, "shapes": _shapes(optimiser), "memory": memory, "groups": groups}
    return tensors, state


def unpack_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], state: dict) -> None:
    """Puts back what ``pack_optimiser`` took, on the parameters' devices.

    Raises ConfigError when the optimiser is of another kind, or its parameters have other shapes.
    """
    kind, shapes = type(optimiser).__name__, _shapes(optimiser)
    if state["kind"] != kind:
        raise ConfigError(f"the checkpoint is of {state['kind']}, this run uses {kind}: resume with the same optimiser")
    if state["shapes"] != shapes:
        raise ConfigError(
            f"the checkpoint holds an optimiser of parameters shaped {state['shapes']}, this run has {shapes}: "
            "resume with the same data and model"
        )
    now = optimiser.state_dict()["param_groups"]
    memory = {int(place): _join(held, f"state.{place}.", tensors) for place, held in state["memory"].items()}
    groups = []
    for place, saved in enumerate(state["groups"]):
        group = _join(saved, f"group.{place}.", tensors)
        for name, value in now[place].items():
            if isinstance(value, tuple):
                group[name] = tuple(group[name])
        groups.append(group)
    optimiser.load_state_dict({"state": memory, "param_groups": groups})


def _shapes(optimiser: torch.optim.Optimizer) -> list[list[list[int]]]:
    return [[list(one.shape) for one in group["params"]] for group in optimiser.param_groups]


def _split(held: dict, prefix: str, tensors: dict[str, Tensor]) -> dict:
    """Moves tensors out of ``held`` into ``tensors``; returns the plain rest."""
    rest = {}
    for name, value in held.items():
        if isinstance(value, Tensor):
            tensors[prefix + name] = value
        elif value is None or isinstance(value, bool | int | float | str | list | tuple):
            rest[name] = value
        else:
            raise ConfigError(f"the optimiser keeps {name}={value!r}, which a checkpoint cannot hold")
    return rest


def _join(rest: dict, prefix: str, tensors: dict[str, Tensor]) -> dict:
    own = {name.removeprefix(prefix): one.clone() for name, one in tensors.items() if name.startswith(prefix)}
    return {**rest, **own}
