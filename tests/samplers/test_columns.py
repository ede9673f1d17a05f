"""Columns never change in number; each says where it is from; nothing is done for what the plan does not have."""

from __future__ import annotations

import pytest
import torch

from negsieve.errors import UsageError
from negsieve.lab.meter import Meter
from negsieve.rng import streams
from negsieve.samplers.base import Chain, Sampler
from negsieve.samplers.columns import CROSS, FALLBACK, GENERAL, RANDOM, Columns
from negsieve.samplers.combine import Concat, join, spread, where
from negsieve.samplers.curriculum import Always, Growing
from negsieve.samplers.draw import Weighted
from negsieve.samplers.groups import HardestOfEach
from negsieve.samplers.synthesise import HopMix
from negsieve.scorers import Dot, Function, Towers
from negsieve.seen import Seen
from negsieve.testing.answers import difference
from negsieve.testing.check_sampler import check_sampler
from negsieve.types import ORIGINS, Batch, Negatives

B, ITEMS, K = 12, 100, 8
NOBODY = Seen([0], [99], n_users=B, n_items=ITEMS)
BATCH = Batch(torch.arange(B), torch.full((B,), 99), torch.arange(B))
VIEW = Towers(*(torch.randn(n, 4, generator=streams("tables", n)) for n in (B, ITEMS)))


class Marked(Sampler):
    """Column c of row b is item ``base + c``; kept by a mask. Counts what is asked of it."""

    def __init__(self, base: int, many: int, keep=None) -> None:
        super().__init__()
        self.base, self.many, self.keep, self.refreshed, self.asked = base, many, keep, [], []

    def refresh(self, epoch, view, rng):
        self.refreshed.append(epoch)

    def sample(self, batch, scorer, rng):
        self.asked.append(batch.user.tolist())
        item = (self.base + torch.arange(self.many)).expand(len(batch), -1)
        return Negatives(item, keep=None if self.keep is None else self.keep[batch.user, : self.many])


def drawn(sampler: Columns, epoch: int = 30) -> Negatives:
    sampler.begin(epoch, VIEW, streams("refresh"))
    return sampler.sample(BATCH, VIEW(BATCH), streams("t"))


def test_general_then_cross_then_random_and_a_filtered_one_is_the_random_one_of_its_column():
    keep = torch.rand(B, 5, generator=streams("keep")) < 0.6
    random, general, cross = Marked(0, K), Marked(20, 5, keep), Marked(40, 2, keep)
    mine = torch.arange(B) % 3 == 0
    found = drawn(Columns(random, general, cross, plan=Always(3, 2), whose=lambda user: mine[user]))
    for b in range(B):
        for k in range(K):
            wanted, origin = k, RANDOM
            if k < 5:
                base, own, at = (40, CROSS, k - 3) if k >= 3 and mine[b] else (20, GENERAL, k)
                kept = bool(keep[b, at])
                wanted, origin = (base + at, own) if kept else (k, FALLBACK)
            assert (int(found.item[b, k]), int(found.origin[b, k])) == (wanted, origin)
    assert found.keep is None and found.origin.dtype == torch.int8
    assert cross.asked == [mine.nonzero().flatten().tolist()]


def test_spare_columns_may_stay_random():
    mine = torch.arange(B) % 3 == 0
    settings = {"plan": Always(3, 2), "whose": lambda user: mine[user], "spare": "random"}
    found = drawn(Columns(Marked(0, K), Marked(20, 5), Marked(40, 2), **settings))
    assert (found.origin[~mine][:, 3:5] == RANDOM).all() and (found.item[~mine][:, 3:5] < 20).all()
    assert (found.origin[mine][:, 3:5] == CROSS).all() and (found.origin[:, :3] == GENERAL).all()


def test_nothing_is_refreshed_or_asked_while_the_plan_has_none_of_it():
    random, general, cross = Marked(0, K), Marked(20, 4), Marked(40, 2)
    sampler = Columns(random, general, cross, plan=Growing(2, 2, mu=2, psi=1), whose=lambda user: user < 3)
    widths = []
    for epoch in range(8):
        found = drawn(sampler, epoch)
        widths.append([int((found.origin[:3] == kind).sum(1).max()) for kind in (GENERAL, CROSS)])
        assert found.item.shape == (B, K)
    assert widths == [[0, 0], [0, 0], [1, 0], [2, 0], [2, 1], [2, 2], [2, 2], [2, 2]]
    assert random.refreshed == list(range(8)) and general.refreshed == [2, 3, 4, 5, 6, 7]
    assert cross.refreshed == [4, 5, 6, 7] and len(general.asked) == 6 and len(cross.asked) == 4


def test_nobody_to_serve_is_the_general_sampler_and_everybody_the_cross_one():
    plain = drawn(Columns(Marked(0, K), Marked(20, 5), plan=Always(3, 2)))
    nobody = drawn(Columns(Marked(0, K), Marked(20, 5), Marked(40, 2), plan=Always(3, 2), whose=lambda user: user < 0))
    assert difference(plain, nobody) is None
    whole = drawn(Columns(Marked(0, K), Marked(20, 5), Marked(40, 2), plan=Always(3, 2), whose=lambda user: user >= 0))
    assert (whole.origin[:, 3:5] == CROSS).all()


def test_vectors_of_synthetic_columns_are_joined_with_gradients():
    tables = [table.clone().requires_grad_() for table in (VIEW.user, VIEW.item)]
    scorer = Towers(*tables)(BATCH)
    keep = torch.rand(B, ITEMS, generator=streams("keep")) < 0.5

    class Kept(Weighted):
        def sample(self, batch, scorer, rng):
            found = super().sample(batch, scorer, rng)
            return Negatives(found.item, keep=torch.where(found.item % 4 == 0, False, keep[batch.user, :1]))

    hard = Chain(Kept(ITEMS, seen=NOBODY, n_negatives=12), HopMix(4, one_layer=True))
    sampler = Columns(Weighted(ITEMS, seen=NOBODY, n_negatives=K), hard, plan=Always(4))
    found = sampler.sample(BATCH, scorer, streams("t"))
    assert found.vector.shape == (B, K, 4)
    plain = found.origin != GENERAL
    torch.testing.assert_close(found.vector[plain], tables[1][found.item[plain]])
    assert not torch.allclose(found.vector[~plain], tables[1][found.item[~plain]])
    assert (found.origin == FALLBACK).any() and (found.origin == GENERAL).any()
    found.vector.sum().backward()
    assert tables[1].grad[found.item.unique()].any(1).all() and tables[1].grad[99].any()
    assert sampler.now.tolist() == [4, 0]


def test_cross_columns_of_items_beside_synthetic_ones_stand_for_themselves():
    hard = Chain(Weighted(ITEMS, seen=NOBODY, n_negatives=12), HopMix(4, one_layer=True))
    random = Weighted(ITEMS, seen=NOBODY, n_negatives=K)
    found = drawn(Columns(random, hard, Marked(40, 2), plan=Always(2, 2), whose=lambda user: user < 4))
    torch.testing.assert_close(found.vector[:4, 2], VIEW.item[40].expand(4, -1))
    assert (found.item[:4, 2:4] == torch.tensor([40, 41])).all()


def test_origins_pass_through_combinators_and_reach_the_meter():
    sampler = Columns(Marked(0, K), Marked(20, 4, torch.arange(B)[:, None].expand(-1, 4) < 3), plan=Always(4))
    found = drawn(sampler)
    assert (spread(found, B).origin == found.origin).all()
    other = Negatives(torch.zeros(B, K, dtype=torch.long))
    mixed = where(torch.arange(K) < 2, found, other)
    assert (mixed.origin[:, :2] == found.origin[:, :2]).all() and not mixed.origin[:, 2:].any()
    beside = join([other, found], B, VIEW(BATCH))
    assert not beside.origin[:, :K].any() and (beside.origin[:, K:] == found.origin).all()
    assert Concat(Marked(0, 3), Marked(20, 3)).sample(BATCH, VIEW(BATCH), streams("t")).origin is None
    meter = Meter(NOBODY, None)
    flat = torch.zeros(B)
    for _ in range(2):
        meter.count(BATCH, found, loss=flat, penalty=flat, gradient=flat)
    origins = meter.summary()["origins"]
    assert list(origins) == list(ORIGINS) and sum(origins.values()) == pytest.approx(1)
    assert origins["general"] == pytest.approx(12 / 96) and origins["fallback"] == pytest.approx(36 / 96)
    again = Meter(NOBODY, None)
    again.load_state_dict(meter.state_dict())
    assert again.summary()["origins"] == origins
    meter.reset()
    assert "origins" not in meter.summary()


def test_the_contract_holds(seen):
    def make(plan):
        hard = Chain(Weighted(30, seen=seen, n_negatives=12), HardestOfEach(4))
        return Columns(Weighted(30, seen=seen, n_negatives=6), hard, plan=plan)

    for plan in (Always(4), Growing(3, 1, mu=1, psi=1)):
        check_sampler(lambda plan=plan: make(plan), n_users=12, n_items=30, seen=seen)


def test_what_cannot_be_laid_side_by_side_is_refused():
    for make in (
        lambda: Columns(Marked(0, K), Marked(20, 5), Marked(40, 2), plan=Always(3, 2)),
        lambda: Columns(Marked(0, K), Marked(20, 5), plan=Always(3), whose=lambda user: user > 0),
        lambda: Columns(Marked(0, K), Marked(20, 5), plan=Always(3), spare="none"),
        lambda: Columns(Weighted(ITEMS, seen=NOBODY, n_negatives=2), Marked(20, 5), plan=Always(3)),
        lambda: drawn(Columns(Marked(0, K), Marked(20, 2), plan=Always(3))),
    ):
        with pytest.raises(UsageError):
            make()
    some = Columns(Marked(0, K), Marked(20, 5), Marked(40, 2), plan=Always(3, 2), whose=lambda user: user < 3)
    with pytest.raises(ValueError, match="rows alone"):
        some.sample(BATCH, Function(lambda item: item.float()), streams("t"))
    assert isinstance(VIEW(BATCH), Dot)
