"""A small world of two domains for the models that read both, and the padded computation that they must equal."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from negsieve.histories import Aside, Histories

N_USERS, N_ITEMS, N_SOURCE = 9, 30, 20
TARGETS = (0, 1, 2, 3, 7, 6, 16, 20, 13)
SOURCES = (3, 0, 4, 2, 0, 9, 15, 7, 22)


def two_domains(seed: int = 0, *, change: int | None = None, change_source: int | None = None) -> SimpleNamespace:
    """Every user's merged list, and what the model is told of it.

    rows    per train row, in table order: (user, item, target items before it, source items before it, places of both)
    change, change_source  a row of the table, or a place of the source rows, whose item is another
    """
    rng = np.random.default_rng(seed)
    user, item, source_user, source_item, before, rows = [], [], [], [], [], []
    last = []
    for one in range(N_USERS):
        kinds = rng.permutation([0] * TARGETS[one] + [1] * SOURCES[one])
        start, mine = len(source_item), []
        for kind in kinds:
            value = int(rng.integers(N_SOURCE if kind else N_ITEMS))
            if kind:
                value = (value + 1) % N_SOURCE if change_source == len(source_item) else value
                source_user.append(one)
                source_item.append(value)
                continue
            value = (value + 1) % N_ITEMS if change == len(item) else value
            rows.append((one, value, list(mine), source_item[start:]))
            before.append(len(source_item) - 1 if len(source_item) > start else -1)
            user.append(one)
            item.append(value)
            mine.append(value)
        last.append(len(source_item) - 1 if len(source_item) > start else -1)
    tensors = {"user": user, "item": item, "before": before, "last": last}
    told = SimpleNamespace(rows=rows, **{name: torch.tensor(value) for name, value in tensors.items()})
    source = Histories(torch.tensor(source_user), torch.tensor(source_item), n_users=N_USERS)
    told.source = source
    told.histories = lambda order: Histories(told.user, told.item, n_users=N_USERS)
    told.aside = lambda order: Aside(source, before=told.before, last=told.last, n_items=N_SOURCE)
    return told


@pytest.fixture
def world():
    """``world(seed, change=row)`` makes one."""
    return two_domains


def norm(x, layer):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-8).sqrt() * layer.weight + layer.bias


def grid(tower, items, *, length: int, after: int = 0, reference: bool = False):
    """The padded computation of one sequence, right-aligned in ``length`` places: ``[length, D]``.

    after  how many more items the sequence has that are not shown: places and pads are counted with them
    """
    encoder, dim = tower.encoder, tower.item.shape[1]
    pads = length - len(items) - after
    item = torch.full((length,), -1)
    item[pads : pads + len(items)] = torch.as_tensor(items, dtype=torch.long)
    real = (item >= 0)[:, None]
    x = (math.sqrt(dim) * tower.item[item.clamp_min(0)] + encoder.place) * real
    hidden = torch.ones(length, length).triu(1).bool()
    if not reference:
        hidden = (hidden | ~real.T) & ~torch.eye(length).bool()  # a softmax over nothing would be NaN
    for block in encoder.blocks:
        weight, bias = block.project.weight, block.project.bias
        q = norm(x, block.norm)
        sides = [side @ weight[i * dim : (i + 1) * dim].T for i, side in enumerate((q, x, x))]
        sides = [side + bias[i * dim : (i + 1) * dim] for i, side in enumerate(sides)]
        heads, width = [], dim // block.heads
        for head in range(block.heads):
            asks, keys, values = (side[:, head * width : (head + 1) * width] for side in sides)
            rate = (asks @ keys.T) / math.sqrt(width)
            heads.append(rate.masked_fill(hidden, -torch.inf).softmax(1) @ values)
        x = norm(q + torch.cat(heads, 1) @ block.merge.weight.T + block.merge.bias, block.middle)
        inner = (x @ block.widen.weight.T + block.widen.bias).clamp_min(0)
        x = (x + inner @ block.narrow.weight.T + block.narrow.bias) * real
    return norm(x, encoder.last)


@pytest.fixture
def padded():
    """``padded(tower, items, length=..)``: states of every place."""
    return grid


def shaken(model):
    """The model with every parameter moved, so that norms and biases are no longer what they start as."""
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in model.parameters():
            value += 0.3 * torch.randn(value.shape, generator=rng)
    return model


@pytest.fixture
def moved():
    return shaken


def shown(history, known: int, whole: int, *, length: int):
    """What a stretch cut from the end of ``whole`` items shows before and at place ``known - 1``: items, and how many
    more the stretch holds. With nothing known: nothing."""
    if not known:
        return [], 0
    back = (whole - known) // length  # whole stretches after it
    end = whole - back * length
    begin = max(0, end - length)
    return history[begin:known], end - known


@pytest.fixture
def cut():
    return shown
