"""A setting that changes nothing is a trap: each one of the models of two domains moves what training sees."""

import inspect

import pytest
import torch

from negsieve.models.named import MODELS, OFFERED, reads_aside
from negsieve.types import Batch, Negatives

BASE = {"dim": 8, "max_len": 6, "dropout": 0.1}
OTHER = {
    "dim": 4,
    "max_len": 5,
    "blocks": 1,
    "heads": 2,
    "dropout": 0.5,
    "windows": "all",
    "overlap": 2,
    "pad_attention": "reference",
    "order": "given",
    "penalty": "items",
    "similarity": "dot",
    "scale": 2.0,
}


def cases():
    kinds = {name: kind for name, kind in MODELS.items() if reads_aside(name)}
    return [
        (name, one) for name, kind in kinds.items() for one in inspect.signature(kind).parameters if one not in OFFERED
    ]


@pytest.mark.parametrize(("name", "setting"), cases())
def test_every_setting_changes_what_training_sees(world, moved, name, setting):
    told, asked = world(), []

    def histories(order):
        asked.append(order)
        return told.histories(order)

    def trace(**settings):
        model = moved(MODELS[name](9, 30, history=histories, aside=told.aside, seed=1, **(BASE | settings)))
        rows = model.groups().row
        batch = Batch(told.user[rows], told.item[rows], rows, noise=3)
        scorer, drawn = model.encode(batch), Negatives(torch.zeros(len(rows), 1, dtype=torch.long))
        return rows, scorer.score(batch.item[:, None]), model.penalty(batch, drawn)

    one, two = trace(), trace(**{setting: OTHER[setting]})
    same = all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not same or (setting == "order" and asked == ["time", "given"])
