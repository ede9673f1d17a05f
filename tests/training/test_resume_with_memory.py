"""Samplers with memory resume inside an epoch with the bits of a run that never stopped."""

from __future__ import annotations

import pytest
import torch

from negsieve.config import resolve
from negsieve.store.run import Run
from negsieve.training import session

SAMPLERS = {
    "srns": ("memory.source.item", "memory.stages.0.history.query"),
    "gdns:n_negatives=4,slots=60": ("memory.stages.0.pairs.gain", "memory.stages.0.pairs.written"),
    "adasir_p:update=merge,every=2": ("memory.source.item", "memory.source.log_v"),
}


def everything(path) -> dict[str, torch.Tensor]:
    groups = Run(path).load_latest().groups
    return {f"{group}.{name}": value for group, held in groups.items() for name, value in held.items()}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_run_killed_inside_an_epoch_goes_on_alike(small, tmp_path, sampler, stopping):
    train = {
        "epochs": 3,
        "batch_size": 48,
        "lr": 0.05,
        "seed": 7,
        "checkpoint_every": 2,
        "device": "cpu",
        "patience": 0,
    }
    config = resolve({"train": train, "model": "mf:dim=8", "sampler": sampler, "evaluate": {"metrics": ["recall@5"]}})
    session.start(config, small, path=tmp_path / "whole")
    with pytest.raises(stopping.Killed):
        session.start(config, small, path=tmp_path / "cut", watch=stopping.At(1, 4))
    assert Run(tmp_path / "cut").load_latest().state["standing"]["step"] % 6 != 0  # not at the start of an epoch
    session.resume(tmp_path / "cut")
    whole, cut = everything(tmp_path / "whole"), everything(tmp_path / "cut")
    assert whole.keys() == cut.keys() and set(SAMPLERS[sampler]) <= whole.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
