"""Pools keep ids by user over epochs, follow their weights, and never hold what the user has."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch

from negsieve.errors import UsageError
from negsieve.rng import streams
from negsieve.samplers import named, pools
from negsieve.samplers.draw import Weighted, powered
from negsieve.samplers.pools import Cache, Resampled, first_of_each, repeated, score_rows
from negsieve.scorers import Dot, Function, Towers
from negsieve.seen import Seen
from negsieve.testing.check_sampler import check_sampler
from negsieve.types import Batch

PLAIN = torch.tensor([u for u in range(12) if u != 7])


def towers(key: int = 0, scale: float = 1.0) -> Towers:
    return Towers(*(scale * torch.randn(n, 4, generator=streams("x", n, key), dtype=torch.float64) for n in (12, 30)))


def step(sampler, key: int, *, users=None) -> dict:
    """One step of training on 16 rows, in which users repeat; returns its evidence."""
    users = PLAIN if users is None else users
    user = users[torch.randint(len(users), (16,), generator=streams("b", key))]
    batch = Batch(user, torch.randint(30, (16,), generator=streams("i", key)))
    scorer = towers(key)(batch)
    drawn = sampler.sample(batch, scorer, streams("draw", key))
    evidence = sampler.observe(batch, drawn, scorer, torch.zeros(16), streams("observe", key))
    sampler.learn([evidence])
    return evidence


def holds_seen(seen, item) -> bool:
    return bool(seen.contains(PLAIN, item[PLAIN]).any())


@pytest.mark.parametrize("update", ["is", "top"])
def test_a_cache_keeps_different_unseen_items_and_only_of_the_users_met(seen, update):
    cache = Cache(30, seen=seen, size=4, extra=6, update=update)
    for key in range(30):
        before = cache.item.clone()
        evidence = step(cache, key, users=PLAIN[:6])
        met = evidence["user"]
        assert len(met.unique()) == len(met)
        rest = torch.ones(12, dtype=torch.bool)
        rest[met] = False
        assert torch.equal(cache.item[rest], before[rest])
        assert not repeated(cache.item[met]).any()
    assert not holds_seen(seen, cache.item)
    assert not torch.equal(cache.item, before)


def test_the_top_update_keeps_the_best_of_pool_and_draws(seen):
    cache, batch = Cache(30, seen=seen, size=3, extra=5, update="top"), Batch(PLAIN, PLAIN)
    scorer = towers()(batch)
    found = cache.observe(batch, None, scorer, None, streams("t"))
    order = first_of_each(PLAIN)
    drawn = cache.extra.sample(Batch(PLAIN[order]), None, streams("t")).item
    for row, user in enumerate(PLAIN[order].tolist()):
        union = {*cache.item[user].tolist(), *drawn[row].tolist()}
        score = scorer.score(torch.arange(30)[None])[row]
        assert found["item"][row].tolist() == sorted(union, key=lambda one, score=score: -float(score[one]))[:3]


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_what_survives_is_drawn_without_replacement_by_the_softmax(judge, scale):
    users, temperature = 6000, 2.0 * scale
    nobody = Seen([], [], n_users=users, n_items=4)
    score, trials = torch.tensor([0.0, 1.0, 2.0, -1.0]) * scale, []
    share = (score / temperature).softmax(0).tolist()
    for seed in range(2):
        cache = Cache(4, seen=nobody, size=2, extra=80, temperature=temperature, seed=seed)
        batch = Batch(torch.arange(users))
        found = cache.observe(batch, None, Function(lambda item: score[item]), None, streams("t", seed))["item"]
        pairs = list(permutations(range(4), 2))
        counts = [int((found == torch.tensor(pair)).all(1).sum()) for pair in pairs]  # in the order drawn
        trials.append((counts, [share[a] * share[b] / (1 - share[a]) for a, b in pairs]))
    judge(trials)


def test_the_first_row_of_a_user_counts_however_shards_divide_the_batch(seen):
    one, two, three = (Cache(30, seen=seen, size=3, extra=4) for _ in range(3))
    user = torch.tensor([4, 2, 4, 9, 2])
    item = torch.arange(15).reshape(5, 3)
    one.learn([{"user": user, "item": item}])
    two.learn([{"user": user[:2], "item": item[:2]}, {"user": user[2:], "item": item[2:]}])
    assert torch.equal(one.item, two.item)
    assert (
        one.item[4].tolist() == [0, 1, 2] and one.item[2].tolist() == [3, 4, 5] and one.item[9].tolist() == [9, 10, 11]
    )
    three.learn([{"user": user.flip(0), "item": item.flip(0)}])
    assert three.item[4].tolist() == [6, 7, 8]


def test_srns_memory_outlives_epochs_by_id_unless_it_is_the_authors(seen):
    kinds = {
        memory: named.srns(30, seen=seen, size=4, extra=6, memory=memory) for memory in ("persistent", "reindexed")
    }
    pool = {memory: one.source.item for memory, one in kinds.items()}
    assert torch.equal(pool["persistent"], pool["reindexed"])
    for epoch in range(3):
        before = {memory: one.clone() for memory, one in pool.items()}
        for one in kinds.values():
            one.begin(epoch, towers(epoch), streams("refresh", epoch))
        assert torch.equal(pool["persistent"], before["persistent"])
        assert not torch.equal(pool["reindexed"], before["reindexed"])
        pool["reindexed"].copy_(pool["persistent"])  # that is all in which they differ
        for key in range(3):
            for one in kinds.values():
                step(one, 10 * epoch + key)
            assert torch.equal(pool["persistent"], pool["reindexed"])
        assert not holds_seen(seen, pool["reindexed"])


def test_nscaching_draws_from_the_cache_uniformly(seen, judge):
    sampler = named.nscaching(30, seen=seen, size=5, n_negatives=4000)
    sampler.item.copy_(torch.arange(5).expand(12, 5))
    found = sampler.sample(Batch(torch.arange(12)), None, streams("t"))
    assert not found.keep[7].any() and found.keep[PLAIN].all()
    judge([(torch.bincount(found.item[row], minlength=5).numpy(), [1] * 5) for row in range(12)])


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_resampled_pool_follows_its_weights(seen, judge, alpha):
    law = Weighted(30, seen=seen, n_negatives=9, weight=powered(seen.popularity(), alpha=alpha))
    pool = Resampled(law, size=6000)
    pool.begin(0, towers(), streams("refresh"))
    user = torch.arange(12)
    drawn = law.sample(Batch(user), None, streams("refresh"))  # what the refresh drew first
    score = towers()(Batch(user)).score(drawn.item)
    v = (score - drawn.log_q).softmax(1)  # [U, R]
    trials = []
    for row in PLAIN.tolist():
        share = torch.zeros(30, dtype=torch.float64).index_add_(0, drawn.item[row], v[row].double())
        counts = torch.bincount(pool.item[row], minlength=30)
        assert not counts[share == 0].any()
        trials.append((counts[share > 0].numpy(), share[share > 0].numpy()))
        entry = next(place for place in range(6000) if counts[pool.item[row, place]])
        held = (drawn.item[row] == pool.item[row, entry]).nonzero().flatten()
        assert torch.isclose(pool.log_v[row, entry].double(), v[row, held].log().double(), atol=1e-5).any()
    judge(trials)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_with_many_draws_any_proposal_leads_to_the_softmax_of_the_model(seen, alpha):
    law = Weighted(30, seen=seen, n_negatives=20000, weight=powered(seen.popularity(), alpha=alpha))
    pool = Resampled(law, size=20000)
    pool.begin(0, towers(), streams("refresh"))
    user = torch.arange(12)
    score = (
        towers()(Batch(user))
        .score(torch.arange(30)[None])
        .masked_fill(seen.contains(user, torch.arange(30)[None]), -torch.inf)
    )
    if alpha:
        score[:, seen.popularity() == 0] = -torch.inf
    for row in PLAIN.tolist():
        found = torch.bincount(pool.item[row], minlength=30) / 20000
        assert (found - score[row].softmax(0)).abs().sum() / 2 < 0.05


def test_merging_takes_from_the_old_and_the_new_pool(seen, monkeypatch):
    monkeypatch.setattr(pools, "_BLOCK", 40)  # blocks of two users
    law = Weighted(30, seen=seen, n_negatives=20)
    merged, replaced = (Resampled(law, size=8, update=update) for update in ("merge", "replace"))
    start = merged.item.clone()
    for one in (merged, replaced):
        one.begin(0, towers(), streams("refresh", 0))
    assert torch.equal(merged.item, replaced.item) and not torch.equal(merged.item, start)
    shares = []
    for epoch in range(1, 30):
        old = merged.item.clone()
        merged.begin(epoch, towers(epoch), streams("refresh", epoch))
        kept = [
            sum((torch.bincount(merged.item[u], minlength=30) - torch.bincount(old[u], minlength=30)).clamp(min=0))
            for u in PLAIN
        ]
        shares += [float(one) / 8 for one in kept]  # of the new pool, at least
    assert 0.2 < sum(shares) / len(shares) < 0.5
    assert not holds_seen(seen, merged.item)


def test_updates_come_every_so_many_epochs(seen):
    pool = Resampled(Weighted(30, seen=seen, n_negatives=20), size=8, every=2)
    states = []
    for epoch in range(4):
        pool.begin(epoch, towers(epoch), streams("refresh", epoch))
        states.append(pool.item.clone())
    assert torch.equal(states[0], states[1]) and torch.equal(states[2], states[3])
    assert not torch.equal(states[1], states[2])


def test_adasir_weights_follow_the_correction(seen):
    batch = Batch(PLAIN, PLAIN)
    scorer = towers()(batch)
    for correction, sign in (("none", 0.0), ("plus", 1.0), ("minus", -1.0)):
        sampler = named.adasir(30, seen=seen, draws=12, size=6, pool_correction=correction)
        sampler.begin(0, towers(), streams("refresh"))
        found = sampler.sample(batch, scorer, streams("t"))
        gap = scorer.score(found.item) - scorer.score(batch.item[:, None])
        for row in range(len(PLAIN)):
            terms = [math.exp(float(gap[row, k]) + sign * float(found.log_q[row, k])) for k in range(5)]
            assert torch.allclose(
                found.weight[row].double(), torch.tensor([t / sum(terms) for t in terms]).double(), atol=1e-5
            )
    flat = Towers(torch.zeros(12, 4), torch.zeros(30, 4))  # equal scores: v is even, and no correction matters
    weights = []
    for correction in ("none", "plus", "minus"):
        sampler = named.adasir(30, seen=seen, pool_correction=correction)
        sampler.begin(0, flat, streams("refresh"))
        weights.append(sampler.sample(batch, flat(batch), streams("t")).weight)
    assert torch.allclose(weights[0], weights[1]) and torch.allclose(weights[0], weights[2])


def test_the_two_short_names_are_adasir(seen):
    batch = Batch(PLAIN, PLAIN)
    for short, proposal in ((named.adasir_u, "uniform"), (named.adasir_p, "popularity")):
        one, two = short(30, seen=seen, seed=3), named.adasir(30, seen=seen, proposal=proposal, seed=3)
        for sampler in (one, two):
            sampler.begin(0, towers(), streams("refresh"))
        a, b = (sampler.sample(batch, towers()(batch), streams("t")) for sampler in (one, two))
        assert torch.equal(a.item, b.item) and torch.equal(a.weight, b.weight)


def test_a_scorer_that_cannot_narrow_is_asked_for_all_rows():
    scorer = Dot(*(torch.randn(n, 4, generator=streams("x", n)) for n in (5, 30)))
    place, item = torch.tensor([3, 1]), torch.tensor([[4, 5, 6], [7, 8, 9]])
    assert torch.allclose(score_rows(scorer, place, item, 5), score_rows(Function(scorer.score), place, item, 5))


@pytest.mark.parametrize(
    "text",
    ["srns:memory=reindexed", "srns:size=1,extra=1", "nscaching:update=top,n_negatives=3", "adasir_p:update=merge"],
)
def test_variants_keep_the_contract(text, seen):
    from negsieve.spec import bind, parse

    spec = parse(text)
    offers = {"n_items": 30, "seen": seen, "seed": 0}
    report = check_sampler(lambda: bind(named.METHODS[spec.name], spec, offers), n_users=12, n_items=30, seen=seen)
    assert report.learns == (not spec.name.startswith("adasir"))


def test_bad_parameters_are_refused(seen):
    law = Weighted(30, seen=seen, n_negatives=4)
    for make, said in (
        (lambda: Cache(30, seen=seen, size=0, extra=1), "size=0"),
        (lambda: Cache(30, seen=seen, size=1, extra=1, update="best"), "update='best', wanted one of is, top"),
        (lambda: Cache(30, seen=seen, size=1, extra=1, temperature=0), "temperature=0"),
        (lambda: Resampled(law, size=4, update="mrge"), "Did you mean 'merge'"),
        (lambda: Resampled(law, size=4, every=0), "every=0"),
        (lambda: named.srns(30, seen=seen, memory="none"), "wanted one of persistent, reindexed"),
        (lambda: named.adasir(30, seen=seen, pool_correction="add"), "wanted one of none, plus, minus"),
        (lambda: named.adasir(30, seen=seen, proposal="cluster"), "wanted one of uniform, popularity"),
    ):
        with pytest.raises(UsageError, match=said):
            make()
