"""Drawing is exact: every unit of unseen weight is one draw, and nothing else ever comes out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from negsieve.errors import UsageError
from negsieve.kernels import native
from negsieve.kernels.draw import Weights, settle_even, settle_weighted
from negsieve.rng import streams
from negsieve.samplers.draw import EXCLUDE, InBatch, Shared, Weighted, powered
from negsieve.samplers.filter import NotSeen
from negsieve.seen import Seen
from negsieve.types import Batch, Negatives


@st.composite
def worlds(draw):
    """Any seen index, with any small integer weights."""
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    pairs = draw(st.sets(st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1))))
    user, item = zip(*pairs, strict=True) if pairs else ((), ())
    seen = Seen(np.array(user, dtype=np.int64), np.array(item, dtype=np.int64), n_users=n_users, n_items=n_items)
    weight = draw(st.none() | st.lists(st.integers(0, 5), min_size=n_items, max_size=n_items).filter(any))
    return seen, None if weight is None else torch.tensor(weight)


def has(seen: Seen, user: int) -> list[bool]:
    held = set(seen.item[seen.owner == user].tolist())
    return [item in held for item in range(seen.n_items)]


def looked_up(sampler: Weighted, batch: Batch) -> torch.Tensor:
    """What each unit of the weight that the batch's only row may have looks up."""
    free = int(sampler._free(batch))
    word = ((torch.arange(free) + 0.5) / free * 2.0**53).long() << 11
    user, rows = sampler._refused(batch)
    user = user.expand(free)
    if sampler.line.even:
        return settle_even(word, user, rows=rows)
    weights = Weights(sampler.table, sampler.line.edge, sampler._held(rows))
    return settle_weighted(word, user, rows=rows, weights=weights)


@given(worlds())
@settings(max_examples=150, deadline=None)
def test_every_unit_of_unseen_weight_is_drawn_once(world):
    seen, weight = world
    sampler = Weighted(seen.n_items, seen=seen, weight=weight)
    weights = [1] * seen.n_items if weight is None else weight.tolist()
    for user in range(seen.n_users):
        wanted = [0 if held else w for held, w in zip(has(seen, user), weights, strict=True)]
        assert int(sampler.free[user]) == sum(wanted)
        if not sum(wanted):
            assert sampler.saturable
            continue
        found = torch.bincount(looked_up(sampler, Batch(torch.tensor([user]))), minlength=seen.n_items)
        assert found.tolist() == wanted


@given(worlds(), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_no_draw_collides_whatever_the_data(world, seed):
    seen, weight = world
    batch = Batch(torch.arange(seen.n_users))
    found = Weighted(seen.n_items, seen=seen, weight=weight, n_negatives=40).sample(
        batch, None, streams("t", seed=seed)
    )
    keep = torch.ones(found.item.shape, dtype=torch.bool) if found.keep is None else found.keep
    assert int(found.item.min()) >= 0 and int(found.item.max()) < seen.n_items
    for user in range(seen.n_users):
        held = torch.tensor(has(seen, user))
        assert not (held[found.item[user]] & keep[user]).any()
        if weight is not None:
            assert (weight[found.item[user]][keep[user]] > 0).all()
        reachable = bool(((torch.ones(seen.n_items) if weight is None else weight)[~held] > 0).any())
        assert keep[user].all() if reachable else not keep[user].any()


@given(worlds(), st.data())
@settings(max_examples=60, deadline=None)
def test_excluding_only_the_positive_is_exact_too(world, data):
    seen, weight = world
    weights = [1] * seen.n_items if weight is None else weight.tolist()
    positive = data.draw(st.integers(0, seen.n_items - 1))
    wanted = [0 if item == positive else w for item, w in enumerate(weights)]
    sampler = Weighted(seen.n_items, seen=seen, weight=weight, exclude="positive")
    if not sum(wanted):
        found = sampler.sample(Batch(torch.tensor([0]), torch.tensor([positive])), None, streams("t"))
        assert found.keep.tolist() == [[False]]
        return
    found = looked_up(sampler, Batch(torch.tensor([0]), torch.tensor([positive])))
    assert torch.bincount(found, minlength=seen.n_items).tolist() == wanted


def test_laws_match_their_log_q(seen, judge):
    """Frequencies at fixed seeds agree with exp(log_q), which sums to one over what can be drawn."""
    trials, many = [], 20_000
    for alpha in (0.0, 0.5, 0.75, 1.0):
        weight = powered(seen.popularity(), alpha=alpha)
        for seed, exclude in enumerate(("train", "positive", "none")):
            sampler = Weighted(seen.n_items, seen=seen, weight=weight, n_negatives=many, exclude=exclude)
            batch = Batch(torch.tensor([0, 3, 11]), torch.tensor([1, 2, 3]))
            found = sampler.sample(batch, None, streams("law", seed, int(100 * alpha)))
            for row in range(3):
                law = torch.zeros(seen.n_items, dtype=torch.float64)
                law[found.item[row]] = found.log_q[row].double().exp()
                assert law.sum() == pytest.approx(1, abs=1e-5)
                count = torch.bincount(found.item[row], minlength=seen.n_items)
                trials.append((count[law > 0].numpy(), law[law > 0].numpy()))
        shared = Shared(seen.n_items, seen=seen, weight=weight, n_negatives=many)
        found = shared.sample(Batch(torch.tensor([0]), torch.tensor([1])), None, streams("law", 9, int(100 * alpha)))
        law = torch.zeros(seen.n_items, dtype=torch.float64)
        law[found.item[0]] = found.log_q[0].double().exp()
        assert law.sum() == pytest.approx(1, abs=1e-5)
        assert found.positive_log_q[0].exp() == pytest.approx(float(law[1]), rel=1e-5)
        trials.append((torch.bincount(found.item[0], minlength=30)[law > 0].numpy(), law[law > 0].numpy()))
    judge(trials)


def test_powered_keeps_proportions_and_fits_64_bits():
    popularity = torch.tensor([0, 1, 16, 1_000_000])
    weight = powered(popularity, alpha=0.5)
    assert weight[0] == 0 and weight[1] > 0
    assert weight[2] / weight[1] == pytest.approx(4, rel=1e-4)
    many = powered(torch.ones(9_000_000, dtype=torch.long), alpha=0.5)
    assert 2**38 < int(many.sum()) <= 2**63 // len(many)
    assert int(powered(popularity, alpha=0.75).sum()) == pytest.approx(2**40, rel=1e-6)
    assert powered(popularity, alpha=0) is None
    tiny = powered(torch.tensor([1, 10**9]), alpha=3)
    assert tiny[0] == 1  # far below one unit, but drawn it can be


def test_weights_that_cannot_be_laid_out_are_refused(seen):
    with pytest.raises(UsageError, match="no item has any interaction"):
        powered(torch.zeros(3, dtype=torch.long), alpha=1)
    with pytest.raises(UsageError, match="does not fit 64-bit weights"):
        powered(torch.tensor([10**6, 1]), alpha=80)
    with pytest.raises(UsageError, match=r"Long\[30\]"):
        Weighted(30, seen=seen, weight=torch.ones(30))
    with pytest.raises(UsageError, match="nothing to draw from"):
        Weighted(30, seen=seen, weight=torch.zeros(30, dtype=torch.long))
    with pytest.raises(UsageError, match=r"at most 2\^53"):
        Weighted(30, seen=seen, weight=torch.full((30,), 2**57))
    with pytest.raises(UsageError, match="n_items=29"):
        Weighted(29, seen=seen)
    with pytest.raises(UsageError, match="n_negatives=0"):
        Weighted(30, seen=seen, n_negatives=0)
    with pytest.raises(UsageError, match="Did you mean 'train'"):
        Weighted(30, seen=seen, exclude="trian")


def test_a_user_who_has_seen_everything_is_masked_and_others_are_not(seen):
    found = Weighted(30, seen=seen, n_negatives=5).sample(Batch(torch.tensor([7, 0])), None, streams("t"))
    assert found.keep.tolist() == [[False] * 5, [True] * 5]
    assert found.log_q.isfinite().all()
    user, item = seen.owner[seen.owner != 7], seen.item[seen.owner != 7]
    others = Seen(user, item, n_users=12, n_items=30)
    assert Weighted(30, seen=others).sample(Batch(torch.tensor([0])), None, streams("t")).keep is None


@pytest.mark.parametrize("build", [
    lambda s, **k: Weighted(30, seen=s, **k),
    lambda s, **k: Shared(30, seen=s, **k),
    lambda s, **k: InBatch(s.popularity(), seen=s, **k),
    lambda s, **k: NotSeen(s, **k),
])  # fmt: skip
def test_only_training_pairs_may_exclude(seen, build):
    other = Seen(seen.owner, seen.item, n_users=12, n_items=30, part="test")
    with pytest.raises(UsageError, match="'test' pairs: knowing them while training leaks"):
        build(other)
    build(Seen(seen.owner, seen.item, n_users=12, n_items=30, part="test", oracle=True))
    build(seen)


def slow_keep(seen: Seen, batch: Batch, item: torch.Tensor) -> list[list[bool]]:
    rows = zip(batch.user.tolist(), batch.item.tolist(), strict=True)
    return [[not has(seen, u)[j] and j != i for j in item.tolist()] for u, i in rows]


@given(worlds(), st.data())
@settings(max_examples=60, deadline=None)
def test_shared_and_in_batch_masks_equal_a_slow_twin(world, data):
    seen, weight = world
    rows = data.draw(st.integers(1, 6))
    some = st.lists(st.integers(0, seen.n_users - 1), min_size=rows, max_size=rows)
    user = torch.tensor(data.draw(some))
    item = torch.tensor(data.draw(st.lists(st.integers(0, seen.n_items - 1), min_size=rows, max_size=rows)))
    batch = Batch(user, item)
    found = Shared(seen.n_items, seen=seen, n_negatives=9, weight=weight).sample(batch, None, streams("t"))
    assert found.item.shape == (1, 9)
    assert found.keep.tolist() == slow_keep(seen, batch, found.item[0])
    found = InBatch(seen.popularity(), seen=seen).sample(batch, None, streams("t"))
    assert torch.equal(found.item, item[None])
    assert found.keep.tolist() == slow_keep(seen, batch, item)


def test_in_batch_log_q_is_the_training_frequency(seen):
    batch = Batch(torch.tensor([0, 1, 11]), torch.tensor([0, 3, 8]))
    found = InBatch(seen.popularity(), seen=seen).sample(batch, None, streams("t"))
    wanted = (seen.popularity()[batch.item].double() / len(seen)).log().float()
    assert torch.allclose(found.log_q, wanted[None])
    assert torch.equal(found.positive_log_q, found.log_q[0])


def test_not_seen_narrows_what_is_kept(seen):
    batch = Batch(torch.tensor([0, 7, 11]), torch.tensor([4, 5, 6]))
    item = torch.arange(30).expand(3, 30)
    before = torch.rand(3, 30, generator=streams("t")) < 0.5
    found = NotSeen(seen).refine(Negatives(item, keep=before), batch, None, streams("t"))
    wanted = torch.tensor(slow_keep(seen, batch, torch.arange(30)))
    assert torch.equal(found.keep, wanted & before)
    assert torch.equal(NotSeen(seen).refine(Negatives(item), batch, None, streams("t")).keep, wanted)


def test_without_an_index_of_what_is_seen_nothing_is_drawn():
    with pytest.raises(UsageError, match=r"seen is a NoneType, wanted a negsieve\.Seen"):
        Weighted(30, seen=None)


@pytest.mark.parametrize("exclude", EXCLUDE)
@pytest.mark.parametrize("alpha", [0.0, 0.75])
def test_a_rows_draws_depend_on_its_number_alone(seen, alpha, exclude):
    sampler = Weighted(30, seen=seen, n_negatives=5, weight=powered(seen.popularity(), alpha=alpha), exclude=exclude)
    whole = Batch(torch.tensor([0, 3, 7, 11, 3]), torch.tensor([1, 2, 3, 4, 5]), torch.tensor([90, 7, 2**40, 3, 8]))
    order = torch.tensor([3, 1, 4, 0])
    part = Batch(whole.user[order], whole.item[order], whole.row[order])
    one, two = (sampler.sample(batch, None, streams("rows")) for batch in (whole, part))
    for name in ("item", "keep", "log_q"):
        side = getattr(one, name)
        assert (side is None and two.keep is None) or torch.equal(getattr(two, name), side[order])
    again = sampler.sample(Batch(whole.user, whole.item, whole.row + 1), None, streams("rows"))
    assert not torch.equal(again.item, one.item)


@pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")
@pytest.mark.parametrize("exclude", EXCLUDE)
@pytest.mark.parametrize("alpha", [0.0, 0.75])
def test_compiled_and_torch_samplers_draw_the_same(seen, monkeypatch, alpha, exclude):
    sampler = Weighted(30, seen=seen, n_negatives=40, weight=powered(seen.popularity(), alpha=alpha), exclude=exclude)
    batch = Batch(torch.arange(12), torch.arange(12))
    compiled = sampler.sample(batch, None, streams("twins"))
    monkeypatch.setattr(native, "module", lambda: None)
    plain = sampler.sample(batch, None, streams("twins"))
    assert torch.equal(compiled.item, plain.item) and torch.equal(compiled.log_q, plain.log_q)
    assert compiled.keep is plain.keep is None or torch.equal(compiled.keep, plain.keep)
