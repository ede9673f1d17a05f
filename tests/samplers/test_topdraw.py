"""Places are drawn evenly among the hardest that are left; one that nobody holds is no draw; groups choose alone."""

from __future__ import annotations

import pytest
import torch

from negsieve.errors import UsageError
from negsieve.rng import streams
from negsieve.samplers.amongkept import AmongKept
from negsieve.samplers.base import Chain
from negsieve.samplers.draw import Weighted
from negsieve.samplers.groups import HardestOfEach
from negsieve.samplers.topdraw import TopDraw
from negsieve.scorers import Dot
from negsieve.testing.check_sampler import check_sampler
from negsieve.types import Batch, Negatives

ROWS, MANY = 500, 40
SCORER = Dot(torch.ones(ROWS, 1), torch.arange(MANY).float()[:, None])  # the item's number is its score
BATCH = Batch(torch.arange(ROWS), torch.zeros(ROWS, dtype=torch.long), torch.arange(ROWS))
ITEM = torch.arange(MANY).expand(ROWS, -1)


def refined(stage, keep=None, key=0):
    return stage.refine(Negatives(ITEM, keep=keep), BATCH, SCORER, streams("t", key))


@pytest.mark.parametrize(("low", "high"), [(0, 10), (4, 9), (0, 40)])
def test_the_law_is_even_over_the_places(judge, low, high):
    found = refined(TopDraw(8, low=low, high=high))
    rank = MANY - 1 - found.item
    counts = torch.bincount(rank.flatten(), minlength=MANY)
    law = torch.zeros(MANY)
    law[low:high] = 1
    assert found.keep.all() and not counts[law == 0].any()
    judge([(counts[low:high].numpy(), [1] * (high - low))] * 2)


def test_fewer_left_fewer_drawn_and_the_share_is_that_of_the_empty_places():
    left = torch.arange(ROWS) % 13  # 0 to 12 kept a row, whatever their scores
    order = torch.rand(ROWS, MANY, generator=streams("order")).argsort(1)
    keep = order < left[:, None]
    found = refined(TopDraw(20, high=10), keep)
    rank = torch.zeros(ROWS, MANY, dtype=torch.long)
    ranked = torch.where(keep, ITEM, -1).argsort(1, descending=True)
    rank.scatter_(1, ranked, torch.arange(MANY).expand(ROWS, -1))
    own = rank.gather(1, found.item)
    assert torch.equal(found.keep.any(1), left > 0) or not found.keep[left == 0].any()
    assert keep.gather(1, found.item)[found.keep].all() and (own[found.keep] < 10).all()
    share = (~found.keep).double().mean()
    wanted = (1 - left.clamp_max(10) / 10).mean()
    assert share == pytest.approx(float(wanted), abs=0.02)  # 10,000 draws
    assert not found.keep[left == 0].any() and found.keep[left >= 10].all()


def test_a_draw_depends_on_its_row_alone():
    whole = refined(TopDraw(6, high=20)).item
    place = torch.tensor([3, 77, 400])
    some = TopDraw(6, high=20).refine(Negatives(ITEM[:3]), BATCH.rows(place), SCORER.rows(place), streams("t", 0))
    assert torch.equal(whole[place], some.item)


def test_without_replacement_all_differ():
    found = refined(TopDraw(9, high=10, distinct=True))
    assert all(len(set(row)) == 9 for row in found.item.tolist())
    assert any(len(set(row)) < 9 for row in refined(TopDraw(9, high=10)).item.tolist())
    whole = refined(TopDraw(10, high=10, distinct=True)).item.sort(1).values
    assert (whole == torch.arange(30, 40)).all()


def test_more_places_than_candidates_give_what_there_is():
    found = refined(TopDraw(50, high=100))
    assert 0.3 < found.keep.double().mean() < 0.5  # 40 of 100


def test_draws_among_the_kept_are_even(judge):
    keep = (ITEM % 3 == 1) & (torch.arange(ROWS)[:, None] > 9)
    found = refined(AmongKept(20), keep)
    assert torch.equal(found.keep, (torch.arange(ROWS) > 9)[:, None].expand(-1, 20))
    assert keep.gather(1, found.item)[10:].all()
    counts = torch.bincount(found.item[10:].flatten(), minlength=MANY)[1::3]
    judge([(counts.numpy(), [1] * len(counts))] * 2)
    every = torch.bincount(refined(AmongKept(20)).item.flatten(), minlength=MANY)
    judge([(every.numpy(), [1] * MANY)] * 2)


def test_each_group_gives_its_hardest_of_the_kept():
    keep = torch.rand(ROWS, MANY, generator=streams("keep")) < 0.3
    found = refined(HardestOfEach(4), keep)
    value = torch.where(keep, ITEM, -1).view(ROWS, 4, 10).amax(-1)
    assert torch.equal(found.keep, value >= 0)
    assert torch.equal(found.item[found.keep], value[found.keep])
    assert (refined(HardestOfEach(4)).item == torch.tensor([9, 19, 29, 39])).all()


def test_one_of_the_best_of_each_group_is_even_over_the_kept(judge):
    found = refined(HardestOfEach(4, m=5)).item % 10
    counts = torch.bincount(found.flatten(), minlength=10)
    assert not counts[:5].any()
    judge([(counts[5:].numpy(), [1] * 5)] * 2)
    few = refined(HardestOfEach(4, m=5), ITEM % 10 < 2)
    assert few.keep.all() and set((few.item % 10).flatten().tolist()) == {0, 1}


def test_all_keep_the_contract(seen):
    draws = Weighted(30, seen=seen, n_negatives=24)
    for stages in (
        [TopDraw(5, high=7)],
        [TopDraw(5, low=2, high=7, distinct=True)],
        [AmongKept(12), HardestOfEach(3)],
        [HardestOfEach(4, m=3)],
    ):
        check_sampler(lambda stages=stages: Chain(draws, *stages), n_users=12, n_items=30, seen=seen)


def test_what_cannot_be_drawn_is_refused():
    for make in (
        lambda: TopDraw(0),
        lambda: TopDraw(3, low=5, high=5),
        lambda: TopDraw(6, high=5, distinct=True),
        lambda: AmongKept(0),
        lambda: HardestOfEach(0),
        lambda: HardestOfEach(3, m=0),
        lambda: refined(HardestOfEach(7)),
        lambda: refined(HardestOfEach(20, m=3)),
    ):
        with pytest.raises(UsageError):
            make()
