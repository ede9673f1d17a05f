"""The factorised DASL against sums over steps in plain Python, one row at a time."""

import pytest
import torch

from negsieve.models.dasl import DASL, Attention
from negsieve.models.packing import Reading, read_at, steps
from negsieve.models.sasrec_cdr import SASRecCDR
from negsieve.models.selfattention import Tokens
from negsieve.scorers import Crossed, offered
from negsieve.types import Batch

T, USERS = 6, 9


@pytest.fixture
def made(world, moved):
    def make(told=None, **settings):
        told = told or world()
        settings = {"dim": 8, "max_len": T, "heads": 2, "dropout": 0.0, "seed": 1, "windows": "all"} | settings
        return moved(DASL(USERS, 30, history=told.histories, aside=told.aside, **settings))

    return make


def rows_of(told, model):
    rows = model.groups().row
    return rows, Batch(told.user[rows], told.item[rows], rows)


def attended(attention, query, known):
    """One row over its steps ``[n, D]``."""
    if not len(known):
        return torch.zeros_like(query)
    hidden = torch.tanh(attention.key(known) + attention.ask @ query)
    share = (hidden @ attention.rate[0]).exp()
    return (share / share.sum()) @ known


@pytest.mark.parametrize("pads", ["masked", "reference"])
@pytest.mark.parametrize("length", [T, 200])
def test_every_row_equals_a_walk_over_its_steps(made, world, pads, length):
    told = world()
    model = made(told, max_len=length, pad_attention=pads)
    _, batch = rows_of(told, model)
    asked, pair = model.pair.asked(batch), model.pair
    sides = ((pair.source, asked.source), (pair.target, asked.target))
    step, other = (steps(tower.encoder, tower.item, reading, None) for tower, reading in sides)
    scorer = model.encode(batch)
    for at in range(len(batch)):
        known, mine = (
            one[int(reading.start[at]) : int(reading.at[at]) + 1] if reading.at[at] >= 0 else one[:0]
            for one, reading in ((step, asked.source), (other, asked.target))
        )
        source, target = step[read_at(asked.source)[at]], other[read_at(asked.target)[at]]
        s = source + attended(model.over_source, target, known)
        t = target + attended(model.over_target, source, mine)
        for found, wanted in ((scorer.source, s), (scorer.target, t), (scorer.query, model.fusion(s, t))):
            torch.testing.assert_close(found[at], wanted, atol=1e-5, rtol=1e-5)
    assert not scorer.met.all() and scorer.met.any()
    cosine = torch.nn.functional.cosine_similarity(scorer.query[:, None], pair.target.item[None], dim=-1)
    torch.testing.assert_close(scorer.all(), 5 * cosine)


def test_the_steps_are_the_states_that_the_other_model_reads(made, world):
    """Without attention it is the two-domain SASRec of the same weights."""
    told = world()
    model = made(told)
    shape = {"dim": 8, "max_len": T, "heads": 2, "windows": "all"}
    plain = SASRecCDR(USERS, 30, history=told.histories, aside=told.aside, **shape)
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if "over_" not in name})
    _, batch = rows_of(told, model)
    wanted = plain.encode(batch)
    source, target = wanted.source, wanted.target
    found = model.encode(batch)
    assert not torch.allclose(found.source, source, atol=1e-3)
    for one in (model.over_source, model.over_target):
        one.forward = lambda query, step, reading: torch.zeros_like(query)
    found = model.encode(batch)
    torch.testing.assert_close(found.source, source)
    torch.testing.assert_close(found.target, target)


@pytest.mark.parametrize("seed", range(3))
def test_attention_takes_rows_of_any_length_together(seed):
    rng = torch.Generator().manual_seed(seed)
    attention = Attention(5, rng=rng)
    length = torch.tensor([1, 3, 9, 17, 40])
    step = torch.randn(71, 5, generator=rng)  # 70 tokens and the state of nothing
    start = torch.repeat_interleave(length.cumsum(0) - length, length)
    at = torch.arange(70)
    at, start = torch.cat([at, torch.tensor([-1])]), torch.cat([start, torch.tensor([0])])
    shuffle = torch.randperm(71, generator=rng)
    reading = Reading(Tokens(torch.arange(70), length, torch.arange(70)), at[shuffle], start[shuffle])
    query = torch.randn(71, 5, generator=rng)
    found = attention(query, step, reading)
    for row in range(71):
        known = step[int(reading.start[row]) : int(reading.at[row]) + 1]
        torch.testing.assert_close(found[row], attended(attention, query[row], known))


@pytest.mark.parametrize("kind", ["change", "change_source"])
def test_a_later_row_of_either_domain_changes_nothing_earlier(made, world, kind):
    told = world()
    rows, batch = rows_of(told, made(told))
    at = 45 if kind == "change" else 40
    other = world(**{kind: at})
    before, after = (made(one).encode(Batch(batch.user, one.item[rows], rows)) for one in (told, other))
    changed = (before.query != after.query).any(1)
    assert changed.any() and not changed.all()
    if kind == "change":
        assert (rows[changed] > at).all() and (told.user[rows[changed]] == told.user[at]).all()
    else:
        assert (told.before[rows[changed]] >= at).all()


def test_every_weight_has_a_gradient_and_a_frozen_view_none(made, world):
    told = world()
    model = made(told, blocks=1)
    _, batch = rows_of(told, model)
    found = torch.autograd.grad(model.encode(batch).score(batch.item[:, None]).sum(), list(model.parameters()))
    assert all(one.any() for one in found)
    frozen = model.frozen()(batch)
    assert isinstance(frozen, Crossed) and "domains" in offered(frozen) and not frozen.query.requires_grad
    assert torch.equal(frozen.crossed(frozen.target).query, frozen.query)
