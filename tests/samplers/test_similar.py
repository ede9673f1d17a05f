"""What is too similar to the positive is dropped, in the right direction, by a bound that relaxes as it says."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from negsieve.errors import CapabilityError, UsageError
from negsieve.review.counting import Tally, counted
from negsieve.rng import streams
from negsieve.samplers.base import Chain
from negsieve.samplers.draw import Weighted
from negsieve.samplers.kmeans import concentration, nearest
from negsieve.samplers.select import Hardest
from negsieve.samplers.similar import SimilarTo, cosines
from negsieve.scorers import Dot, Function, Towers
from negsieve.testing.check_sampler import check_sampler
from negsieve.types import Batch, Negatives

ITEMS = 60
TABLES = [torch.randn(n, 5, generator=streams("tables", n)) for n in (8, ITEMS)]
TABLES[1][:30] = TABLES[1][0] + 0.3 * TABLES[1][:30]  # half of the items are alike
VIEW = Towers(*TABLES)
BATCH = Batch(torch.arange(8), torch.tensor([0, 3, 5, 31, 40, 41, 59, 7]))
ALL = Negatives(torch.arange(ITEMS).expand(8, -1))


def made(epoch: int, **settings) -> SimilarTo:
    stage = SimilarTo(ITEMS, **{"clusters": 6} | settings)
    stage.begin(epoch, VIEW, streams("refresh"))
    return stage


def kept(stage: SimilarTo, scorer=None) -> torch.Tensor:
    return stage.refine(ALL, BATCH, scorer or VIEW(BATCH), streams("t")).keep


@pytest.mark.parametrize("cosine", [False, True])
def test_a_candidate_is_kept_exactly_while_it_is_no_more_similar_than_the_bound(cosine):
    stage = made(8)
    unit = normalize(TABLES[1], dim=1)
    alike = unit[BATCH.item] @ unit.T
    scorer = Towers(*TABLES, cosine=cosine, temperature=0.2)(BATCH)
    assert torch.equal(kept(stage, scorer), alike <= float(stage.bound))
    assert not kept(stage)[torch.arange(8), BATCH.item].any()  # the positive itself is the most similar
    assert kept(stage).any(1).all()


def test_inverted_it_keeps_what_it_drops_and_all_before_the_first_refresh():
    assert torch.equal(kept(made(8, inverted=True)), ~kept(made(8)))
    assert kept(SimilarTo(ITEMS, inverted=True)).all()


def test_the_bound_is_a_share_of_the_tightness_and_relaxes():
    stage, before = made(5), None
    unit = normalize(TABLES[1], dim=1)
    near = nearest(unit, stage.centre, cosine=True)
    assert float(stage.tightness) == pytest.approx(float(concentration(unit, near, 6)))
    for epoch, share in ((5, 0.230), (7, 0.2645), (20, 0.612), (21, 0.704), (27, 1.0), (60, 1.0)):
        stage.begin(epoch, VIEW, streams("refresh"))
        stage.tightness.fill_(float(concentration(unit, near, 6)))
        assert float(stage.bound / stage.tightness) == pytest.approx(share, abs=2e-2 if epoch == 20 else 1e-3)
        now = kept(stage)
        assert before is None or not (before & ~now).any(), "a later epoch dropped what an earlier one kept"
        before = now


def test_what_is_dropped_stays_dropped_and_nothing_is_before_the_first_refresh():
    fresh = SimilarTo(ITEMS)
    assert kept(fresh).all()
    some = Negatives(ALL.item, keep=torch.arange(ITEMS).expand(8, -1) % 2 == 0)
    found = made(30).refine(some, BATCH, VIEW(BATCH), streams("t"))
    assert not found.keep[:, 1::2].any() and torch.equal(found.keep, kept(made(30)) & some.keep)


def test_every_way_to_the_cosines_agrees():
    scorer = VIEW(BATCH)
    fast = cosines(scorer, BATCH.item, ALL.item)

    class Plain:  # shows vectors, and has no quicker way
        def vectors(self, item):
            return scorer.vectors(item)

    torch.testing.assert_close(cosines(Plain(), BATCH.item, ALL.item), fast)
    tally = Tally()
    torch.testing.assert_close(cosines(counted(scorer, tally), BATCH.item, ALL.item), fast)
    assert tally.frozen == 8 * ITEMS
    torch.testing.assert_close(cosines(scorer, BATCH.item, ALL.item[:1]), fast)


def test_clusterings_go_on_from_the_last_and_come_when_they_are_due():
    stage = made(6, every=2, rounds=1)
    first = stage.centre.clone()
    stage.begin(7, VIEW, streams("other"))
    assert torch.equal(first, stage.centre)
    stage.begin(8, VIEW, streams("other"))
    assert not torch.equal(first, stage.centre)
    again = made(6, every=1, rounds=1)
    again.begin(8, VIEW, streams("a third"))  # warm: the generator is not even asked
    torch.testing.assert_close(again.centre, stage.centre)
    assert not torch.equal(made(6, cosine=False).centre, first)


def test_the_contract_and_the_memory_hold(seen):
    for rest in ({}, {"cosine": False, "clusters": 3}):
        check_sampler(
            lambda rest=rest: Chain(Weighted(30, seen=seen, n_negatives=9), SimilarTo(30, mu=0, **rest), Hardest(2)),
            n_users=12,
            n_items=30,
            seen=seen,
        )


def test_bad_settings_and_scorers_are_refused():
    for settings in ({"clusters": 0}, {"chi": 0}, {"tau": 0}, {"mu": -1}, {"psi": 0}):
        with pytest.raises(UsageError, match="wanted"):
            SimilarTo(ITEMS, **settings)
    with pytest.raises(CapabilityError, match="SimilarTo"):
        kept(SimilarTo(ITEMS), Function(lambda item: item.float()))
    assert isinstance(VIEW(BATCH).by_cosine(TABLES[0]), Dot)
