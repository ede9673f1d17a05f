"""RealHNS as a whole: ablations that equal each other, presets, bases, and data at the edge."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from negsieve.errors import UsageError
from negsieve.rng import streams
from negsieve.samplers.columns import CROSS, FALLBACK, GENERAL, RANDOM
from negsieve.samplers.named import METHODS, dns_star, realhns, realhns_general
from negsieve.samplers.rankband import RankBand
from negsieve.samplers.similar import SimilarTo
from negsieve.samplers.topdraw import TopDraw
from negsieve.scorers import Towers
from negsieve.seen import Seen
from negsieve.testing.answers import difference
from negsieve.testing.check_sampler import check_sampler
from negsieve.testing.standin import CrossedTowers, stand_in
from negsieve.types import Batch

USERS, ITEMS = 40, 200
OWNER = torch.arange(USERS).repeat_interleave(4)
SEEN = Seen(OWNER, torch.randint(ITEMS, (len(OWNER),), generator=streams("p")), n_users=USERS, n_items=ITEMS)
TABLES = [torch.randn(n, 6, generator=streams("tables", n)) for n in (USERS, ITEMS)]
VIEW = CrossedTowers(*TABLES, cosine=True, temperature=0.2)
BATCH = Batch(SEEN.owner, SEEN.item, torch.arange(len(SEEN)))
QUICK = {"mu": 0, "psi": 1, "eta": 10, "candidates": 20, "fine_max": 8, "item_clusters": 5, "user_clusters": 3}


def drawn(sampler, epoch=12, view=VIEW, batch=BATCH):
    sampler.begin(epoch, view, streams("refresh"))
    return sampler.sample(batch, view(batch), streams("t"))


def test_no_outliers_are_the_general_selector_and_all_outliers_the_unfiltered_one():
    made = {
        name: drawn(realhns(ITEMS, seen=SEEN, **QUICK | settings))
        for name, settings in {
            "general": {"cross": False},
            "none": {"outliers": 0.0},
            "some": {"outliers": 0.5},
            "all": {"outliers": 1.0},
            "unfiltered": {"user_filter": False},
        }.items()
    }
    assert difference(made["general"], made["none"]) is None
    assert difference(made["all"], made["unfiltered"]) is None
    assert difference(made["some"], made["all"]) is not None
    assert not (made["general"].origin == CROSS).any()
    met = BATCH.user % 4 != 3
    crossed = (made["all"].origin[:, 8:10] == CROSS) | (made["all"].origin[:, 8:10] == FALLBACK)
    assert crossed[met].all() and not (made["all"].origin[~met] == CROSS).any()
    assert not (made["all"].origin[~met][:, :10] == RANDOM).any()
    plain = drawn(realhns_general(ITEMS, seen=SEEN, **{k: v for k, v in QUICK.items() if k != "user_clusters"}))
    assert difference(plain, made["general"]) is None


def test_hard_columns_are_of_the_users_candidates_and_pass_the_filter():
    sampler = realhns(ITEMS, seen=SEEN, outliers=0.5, **QUICK)
    found = drawn(sampler)
    band, similar = sampler.general.source, sampler.general.stages[0]
    across = sampler.cross.inner.source
    assert isinstance(band, RankBand) and isinstance(similar, SimilarTo)
    assert similar is sampler.cross.inner.stages[0]  # items are clustered once
    unit = normalize(TABLES[1], dim=1)
    for kind, source in ((GENERAL, band), (CROSS, across)):
        mine = found.origin == kind
        assert mine.any()
        row = mine.nonzero()[:, 0]
        item = found.item[mine]
        assert (source.candidate[BATCH.user[row]] == item[:, None]).any(1).all()
        assert ((unit[item] * unit[BATCH.item[row]]).sum(1) <= similar.bound + 1e-6).all()
    assert not SEEN.contains(BATCH.user, found.item).any()
    assert found.item.shape == (len(BATCH), 20) and (found.origin[:, 10:] == RANDOM).all()


def test_the_share_that_falls_back_is_that_of_the_places_nobody_holds():
    sampler = realhns(ITEMS, seen=SEEN, cross=False, **QUICK | {"chi": 20.0, "fine_max": 16})
    found = drawn(sampler, epoch=0)
    chain = sampler.general
    source = chain.source.sample(BATCH, None, streams("t"))
    left = chain.stages[0].refine(source, BATCH, VIEW(BATCH), streams("t")).keep.sum(1)
    wanted = (1 - left.clamp_max(16) / 16).mean()
    share = (found.origin[:, :10] == FALLBACK).double().mean()
    assert 0.05 < wanted < 0.95 and share == pytest.approx(float(wanted), abs=0.05)  # 1600 draws
    random = sampler.random.sample(BATCH, None, streams("t")).item
    assert torch.equal(found.item[found.origin == FALLBACK], random[found.origin == FALLBACK])


@pytest.mark.parametrize("name", ["realhns", "realhns_general"])
def test_nothing_is_asked_of_the_model_while_no_column_is_hard(name):
    def refusing(batch):
        raise AssertionError("asked")

    sampler = METHODS[name](ITEMS, seen=SEEN)
    for epoch in range(5):
        sampler.begin(epoch, refusing, streams("refresh"))
        found = sampler.sample(BATCH, None, streams("t"))
        assert not found.origin.any() and found.item.shape[1] == 20
    with pytest.raises(AssertionError, match="asked"):
        sampler.begin(5, refusing, streams("refresh"))


def test_users_are_encoded_once_an_epoch_whatever_asks():
    asked = []

    def view(batch):
        asked.append(batch)
        return VIEW(batch)

    last = torch.arange(USERS) * 4 + 3
    sampler = realhns(ITEMS, seen=SEEN, last_row=last, **QUICK)
    sampler.begin(12, view, streams("refresh"))
    whole = [batch for batch in asked if len(batch) > 1]
    assert len(whole) == 1 and torch.equal(whole[0].row, last)


def test_bases_pick_as_they_say():
    plain = {"cross": False, "item_filter": "off", **QUICK}
    star = realhns(ITEMS, seen=SEEN, base="dns_star", fine_min=2, **plain)
    found = drawn(star)
    score = VIEW(BATCH).score(star.general.source.sample(BATCH, None, streams("t")).item)
    place = score.sort(1, descending=True).values
    own = VIEW(BATCH).score(found.item[:, :10])
    rank = (place[:, None] - own[..., None]).abs().argmin(-1)
    assert rank.min() == 2 and rank.max() == 7
    dns = drawn(realhns(ITEMS, seen=SEEN, base="dns", group=15, **plain))
    hard = VIEW(BATCH).score(dns.item[:, :10])
    assert hard.mean() > own.mean()
    mixed = drawn(realhns(ITEMS, seen=SEEN, base="mixgcf", group=15, **plain))
    positive, other = TABLES[1][BATCH.item][:, None], TABLES[1][mixed.item[:, :10]]
    share = (mixed.vector[:, :10] - other) / (positive - other)
    assert mixed.vector.shape == (len(BATCH), 20, 6)
    torch.testing.assert_close(share, share[..., :1].expand_as(share), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(mixed.vector[:, 10:], TABLES[1][mixed.item[:, 10:]])


def test_without_the_general_selector_hard_ones_are_of_uniform_candidates():
    sampler = realhns(ITEMS, seen=SEEN, general=False, cross=False, **QUICK)
    assert not any(isinstance(part, RankBand | SimilarTo) for part in sampler.modules())
    assert (drawn(sampler).origin[:, :10] == GENERAL).all()


def test_presets_are_what_their_table_says_and_a_setting_overrules_them():
    oracle = Seen(SEEN.owner, SEEN.item, n_users=USERS, n_items=ITEMS, part="train+test", oracle=True)
    made = {
        preset: realhns(ITEMS, seen=oracle, train=SEEN, preset=preset, last_row=torch.zeros(USERS, dtype=torch.long))
        for preset in ("clean", "paper", "reference")
    }
    bands = {preset: one.general.source for preset, one in made.items()}
    assert [one.seen is oracle for one in bands.values()] == [False, False, True]
    assert [one.columns for one in bands.values()] == ["own", "top", "shared"]
    assert [one.states.by_row for one in bands.values()] == [True, False, True]
    assert [one.plan.first for one in made.values()] == [True, False, True]
    transfers = [one.cross.transfer for one in made.values()]
    assert [one.raw for one in transfers] == [True, True, False]
    assert [one.first for one in transfers] == [False, False, True]
    assert [one.score for one in transfers] == ["cosine", "dot", "cosine"]
    assert [one.apart for one in transfers] == [True, False, False]
    assert [one.cosine for one in transfers] == [True, False, True]
    assert all(one.random.seen is SEEN for one in made.values())  # random draws never know more than train
    picks = [next(part for part in one.general.stages if isinstance(part, TopDraw)) for one in made.values()]
    assert [one.distinct for one in picks] == [False, True, False]
    assert realhns(ITEMS, seen=SEEN, preset="reference", exclude="train").general.source.seen is SEEN
    with pytest.raises(UsageError, match="--oracle valid,test"):
        realhns(ITEMS, seen=SEEN, preset="reference")
    with pytest.raises(UsageError, match="oracle run"):
        realhns_general(ITEMS, seen=SEEN, exclude="all")


@pytest.mark.parametrize("base", ["dns_star", "dns", "mixgcf"])
@pytest.mark.parametrize("flat", [False, True])
def test_nothing_is_nan_at_the_edge(base, flat):
    """Bands narrower than K, filters that leave nothing, one vector for all, users with everything or nothing."""
    owner = torch.cat([torch.zeros(12, dtype=torch.long), torch.tensor([1, 2])])
    seen = Seen(owner, torch.cat([torch.arange(12), torch.tensor([0, 1])]), n_users=5, n_items=12)
    tables = [torch.ones(n, 4) if flat else torch.randn(n, 4, generator=streams("t", n)) for n in (5, 12)]
    view = CrossedTowers(*tables, cosine=True)
    batch = Batch(torch.tensor([0, 1, 2, 3, 4]), torch.tensor([0, 0, 1, 2, 3]), torch.arange(5))
    last = torch.tensor([0, 1, 2, -1, -1])
    for settings in ({}, {"p_min": 0.0, "p_max": 100.0}, {"preset": "paper"}, {"tau": 0.01}):
        sampler = realhns(12, seen=seen, last_row=last, base=base, curriculum=False, user_filter=False, **settings)
        found = drawn(sampler, 3, view, batch)
        assert found.item.shape == (5, 20) and not found.keep[0].any() and found.keep[1:].all()
        assert found.vector is None or found.vector.isfinite().all()
        assert not (seen.contains(batch.user, found.item) & found.keep).any()
        if flat and settings == {"tau": 0.01}:
            assert (found.origin[1:, :10] == FALLBACK).all()
        for value in sampler.buffers():
            assert not value.is_floating_point() or not value.isnan().any()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"base": "dns", "cross": False},
        {"base": "mixgcf"},
        {"preset": "paper"},
        {"spare": "random", "choice": "train"},
    ],
)
def test_the_contract_holds_with_columns_of_every_kind(seen, settings):
    small = {"curriculum": False, "candidates": 8, "fine_max": 12, "p_min": 0.0, "p_max": 90.0, "outliers": 0.5}
    small |= {"item_clusters": 3, "user_clusters": 2}
    check_sampler(lambda: realhns(30, seen=seen, **small | settings), n_users=12, n_items=30, seen=seen)


def test_random_and_hard_columns_side_by_side():
    view = Towers(*TABLES)
    plain = drawn(dns_star(ITEMS, seen=SEEN, m=1, n=30), view=view)
    score = view(BATCH).score(plain.item)
    assert plain.origin.sum(1).eq(10).all() and score[:, :10].mean() > score[:, 10:].mean() + 2
    mixed = drawn(dns_star(ITEMS, seen=SEEN, m=1, n=30, mix=True), view=view)
    assert mixed.vector.shape == (len(BATCH), 20, 6)
    grown = dns_star(ITEMS, seen=SEEN, curriculum=True)
    assert [int((drawn(grown, epoch, view=view).origin > 0).sum(1).max()) for epoch in (0, 5, 7, 30)] == [0, 1, 2, 10]
    for settings in ({"m": 3, "mix": True}, {"n_hard": 21}):
        with pytest.raises(UsageError):
            dns_star(ITEMS, seen=SEEN, **settings)
    assert isinstance(stand_in(plain, *TABLES), Towers)
