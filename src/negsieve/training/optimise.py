"""The optimisers that have a name: torch's in their fused form, one pass over the parameters, and those by rows."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from negsieve.config import TrainConfig
from negsieve.schedule import Schedule
from negsieve.training.rowwise import RowwiseAdagrad, SparseAdam


def make_optimiser(parameters: Iterable[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    """Adam, AdamW, SGD or Adagrad on ``parameters``, or one of ``rowwise``; ``weight_decay`` means what torch means.

    The trainer sets the learning rate at the start of every epoch.
    """
    parameters = list(parameters)
    common = {"lr": float(Schedule(config.lr)), "weight_decay": config.weight_decay, "fused": True}
    match config.optimiser:
        case "adam":
            return torch.optim.Adam(parameters, betas=config.betas, **common)
        case "adamw":
            return torch.optim.AdamW(parameters, betas=config.betas, **common)
        case "sgd":
            return torch.optim.SGD(parameters, momentum=config.momentum, **common)
        case "adagrad":
            return torch.optim.Adagrad(parameters, **common | {"fused": parameters[0].device.type == "cpu"})
        case "sparse_adam":
            return SparseAdam(parameters, lr=common["lr"], betas=config.betas)
        case "rowwise_adagrad":
            return RowwiseAdagrad(parameters, lr=common["lr"])
